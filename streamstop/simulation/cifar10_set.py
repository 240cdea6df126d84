"""Makes a simulated stand-in for CIFAR10-DVS, in the layout and file format of the real set.

Guarantees:

- `airplane/cifar10_airplane_0.aedat` and so on (AEDAT 2.0), a folder per class, each recording a
  still image moved along a closed path in front of a model of a DVS128; a README that says
  SIMULATED, as every header does.
- A recording depends on its image, seed and options alone, not on the order or number of
  processes; a recording that exists is kept.

Does not:

- Promise that what works here works on the real set: `image_motion` lists the assumptions.

The real set: Li et al. (2017), CIFAR10-DVS: an event-stream dataset for object classification.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamstop.datasets.images import load_images
from streamstop.errors import UsageError
from streamstop.events.packet import Events
from streamstop.formats.aedat.aedat2_writer import write_aedat2
from streamstop.simulation.fast_sensor import FastSensor
from streamstop.simulation.gestures import SENSOR
from streamstop.simulation.image_motion import Motion, still_frames
from streamstop.simulation.performers import HAND_OVER_US, READOUT, STEP_US
from streamstop.simulation.pixel import PixelParams
from streamstop.simulation.set_folder import Progress, claim, in_processes

GENERATOR = 1
"""Raised with every change that alters an event; a set with another value is not continued."""

MAX_PER_CLASS = 5000
"""Training images per class of CIFAR-10; CIFAR10-DVS has 1000."""

LAMP = 60.0
"""Luminance of the monitor's white; 100 is full light for the pixel model."""

PIXELS = PixelParams(
    theta_on=0.36,
    theta_off=0.31,
    mismatch=0.04,
    cutoff_hz=200.0,
    refractory_us=500,
    shot_noise_hz=0.1,
    leak_hz=0.01,
    hot_fraction=0.0004,
    hot_hz=6.0,
)
"""The camera of the gesture set, in front of a monitor."""


class _Plan(NamedTuple):
    """One recording: its path, its image, and the seeds of camera and recording."""

    path: Path
    image: NDArray[np.uint8]
    camera: int
    noise: int


def write_cifar10_set(
    out: str | Path,
    images: str | Path,
    *,
    per_class: int = 1000,
    seed: int = 0,
    jobs: int = 1,
    progress: Progress | None = None,
) -> int:
    """Write the set, or the missing recordings of it.

    Parameters
    ----------
    out
        Folder to write to, created if missing.
    images
        Folder or tar of images, as `streamstop.datasets.load` reads them; the first training
        images of each class are taken.
    per_class
        Recordings per class.
    seed
        Draws the camera and its noise.
    jobs
        Number of processes.

    Returns
    -------
    count : int
        Number of recordings written.

    Raises
    ------
    UsageError
        If a number is out of range, a class has too few images, or the folder holds something else.
    SourceError
        If the images cannot be read.
    """
    if not 1 <= per_class <= MAX_PER_CLASS:
        raise UsageError(f"per_class = {per_class} is out of range, 1 to {MAX_PER_CLASS}")
    if not 0 <= seed < 1 << 31:
        raise UsageError(f"seed = {seed} is out of range, 0 to {(1 << 31) - 1}")
    chosen = _images(Path(images), per_class)
    folder = Path(out)
    # Without the number of recordings: a set may grow.
    claim(
        folder,
        "CIFAR10-DVS set (Li et al. 2017), AEDAT 2.0,",
        "still images moved",
        {"seed": seed, "generator": GENERATOR},
    )
    plans = []
    for label, (name, stack) in enumerate(chosen.items()):
        (folder / name).mkdir(exist_ok=True)
        for number, image in enumerate(stack):
            noise = (((seed << 10) + label) << 13) + number
            path = folder / name / f"cifar10_{name}_{number}.aedat"
            plans.append(_Plan(path, image, seed, noise))
    # Classes alternate, so that an interrupted set holds all of them.
    plans.sort(key=lambda plan: (plan.noise & 0x1FFF, plan.noise))
    return in_processes(plans, [plan.path for plan in plans], write_still, jobs, progress)


def write_still(plan: _Plan) -> None:
    """Write one recording; it appears when it is complete."""
    parts = record_still(plan.image, plan.camera, plan.noise)
    write_aedat2(plan.path, parts, SENSOR, simulated=True)


def record_still(
    image: NDArray[np.uint8], camera: int, noise: int, motion: Motion | None = None
) -> Iterator[Events]:
    """Events of one image, in parts; times from 0.

    Parameters
    ----------
    image
        (channels, height, width).
    camera, noise
        Seeds of the sensor and of the noise.
    motion
        None takes the default.
    """
    sensor = FastSensor(SENSOR, PIXELS, READOUT, camera, noise, veil=0.0)
    frames = still_frames(image, SENSOR, motion or Motion(), LAMP, STEP_US)
    return sensor.film(frames, STEP_US, HAND_OVER_US)


def _images(path: Path, per_class: int) -> dict[str, NDArray[np.uint8]]:
    """The first images of each class, (per_class, channels, height, width), by the class's name."""
    # Class folders are read alternating, so this many suffice; other kinds are mixed.
    for limit in (10 * per_class, 0):
        samples = load_images(path, "train", limit)
        y = samples.y.numpy()
        rows = {
            name: np.flatnonzero(y == label)[:per_class]
            for label, name in enumerate(samples.classes)
        }
        fewest = min(rows, key=lambda name: len(rows[name]))
        if len(rows[fewest]) == per_class:
            return {name: samples.x[chosen].numpy() for name, chosen in rows.items()}
    raise UsageError(
        f"the class {fewest} has {len(rows[fewest])} training images, and {per_class} are asked "
        f"for: {path}"
    )
