"""The simulated CIFAR10-DVS: the real set's layout, and a path that closes."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats.detect import open_recording
from streamstop.simulation.cifar10_set import record_still, write_cifar10_set
from streamstop.simulation.image_motion import Motion, still_frames

SENSOR = SensorSize(128, 128)


def picture_of(label: int, number: int) -> np.ndarray:
    """A bright square on a dark ground, or a dark one on a bright ground; (32, 32, 3)."""
    image = np.full((32, 32, 3), 220 if label else 30, np.uint8)
    image[8 + number : 22 + number, 10:20] = 30 if label else 220
    return image


@pytest.fixture
def images(tmp_path: Path) -> Path:
    path = tmp_path / "images.tar"
    with tarfile.open(path, "w") as tar:
        for label, name in enumerate(("airplane", "truck")):
            for number in range(3):
                content = io.BytesIO()
                Image.fromarray(picture_of(label, number)).save(content, "PNG")
                about = tarfile.TarInfo(f"train/{name}/{number:04d}.png")
                about.size = len(content.getvalue())
                tar.addfile(about, io.BytesIO(content.getvalue()))
    return path


def still(label: int, number: int) -> np.ndarray:
    return picture_of(label, number).transpose(2, 0, 1)


def recorded(label: int, number: int, noise: int = 0) -> Events:
    return np.concatenate(list(record_still(still(label, number), 0, noise)))


def test_the_layout_is_that_of_the_real_set(images: Path, tmp_path: Path) -> None:
    out = tmp_path / "set"
    assert write_cifar10_set(out, images, per_class=1) == 2
    first = out / "airplane" / "cifar10_airplane_0.aedat"
    assert first.read_bytes().startswith(b"#!AER-DAT2.0\r\n")
    stands = first.stat().st_mtime_ns
    assert write_cifar10_set(out, images, per_class=2, jobs=2) == 2
    assert first.stat().st_mtime_ns == stands
    assert (out / "README.txt").read_text().startswith("SIMULATED")
    names = {str(path.relative_to(out)) for path in out.rglob("*.aedat")}
    assert names == {
        f"{name}/cifar10_{name}_{number}.aedat"
        for name in ("airplane", "truck")
        for number in (0, 1)
    }
    recording = open_recording(str(out / "truck" / "cifar10_truck_1.aedat"))
    assert recording.simulated
    assert recording.sensor == SENSOR
    read = np.concatenate([packet.events for packet in recording.packets()])
    made = recorded(1, 1, noise=(1 << 13) + 1)
    assert len(made) > 10_000
    for column in ("t", "x", "y", "p"):
        assert np.array_equal(read[column], made[column])


def test_the_path_closes_and_its_legs_lie_at_45_degrees() -> None:
    motion = Motion()
    start = motion.rest_us // 2
    for loop in range(motion.loops):
        assert motion.place(start + loop * motion.loop_us) == (0.0, 0.0)
    assert motion.place(0) == motion.place(motion.duration_us) == (0.0, 0.0)
    assert motion.duration_us == 1_300_000
    places = np.array([motion.place(start + t) for t in range(0, motion.loop_us, 1000)])
    moves = np.diff(places, axis=0)
    assert np.allclose(np.abs(moves[:, 0]), np.abs(moves[:, 1]))
    assert np.allclose(places.min(0), (-motion.leg_px, 0))
    assert np.allclose(places.max(0), (motion.leg_px, 2 * motion.leg_px))
    assert np.abs(moves).max() < 0.2, "no jumps: pixels a millisecond"


def test_frames_show_the_image_in_the_middle_and_moved() -> None:
    motion = Motion()
    frames = list(still_frames(still(1, 0), SENSOR, motion, 60.0, 2000))
    assert len(frames) == motion.duration_us // 2000 + 1
    first = frames[0].reflectance
    assert first.shape == (128, 128)
    assert first[0, 0] == pytest.approx(motion.ground, abs=1e-3)
    lit = np.argwhere(first > 0.4)
    height, width = np.ptp(lit, axis=0) + 1
    assert abs(height - motion.side_px) <= 2
    assert abs(width - motion.side_px) <= 2
    # A quarter of the loop on, everything lies a leg further right and down.
    leg = round(motion.leg_px)
    later = frames[(motion.rest_us // 2 + motion.loop_us // 4) // 2000].reflectance
    assert np.allclose(later[20:100, 20:100], first[20 - leg : 100 - leg, 20 - leg : 100 - leg])


def test_events_are_those_of_the_image_and_repeat_loop_by_loop() -> None:
    events = recorded(0, 0)
    assert events["t"][0] >= 0
    assert events["t"][-1] <= 1_300_000
    assert np.all(np.diff(events["t"]) >= 0)
    motion = Motion()
    start = motion.rest_us // 2
    edges = start + motion.loop_us * np.arange(motion.loops + 1)
    per_loop = np.histogram(events["t"], edges)[0]
    assert per_loop.min() > 1_000
    # The first differs from the others by where each pixel's difference began.
    assert np.ptp(per_loop[1:]) < 0.05 * per_loop.mean()
    still_us = events["t"] < start
    assert np.count_nonzero(still_us) < 0.02 * len(events)
    assert 0.45 < events["p"].mean() < 0.6


def test_the_same_seeds_give_the_same_events_and_others_do_not() -> None:
    one, again, other = recorded(0, 1), recorded(0, 1), recorded(0, 1, noise=7)
    assert np.array_equal(one, again)
    assert not np.array_equal(one[:500], other[:500])


def test_too_few_images_and_wrong_numbers_are_refused(images: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="airplane has 3 training images"):
        write_cifar10_set(tmp_path / "set", images, per_class=4)
    with pytest.raises(UsageError, match="per_class"):
        write_cifar10_set(tmp_path / "set", images, per_class=0)
    with pytest.raises(UsageError, match="seed"):
        write_cifar10_set(tmp_path / "set", images, per_class=1, seed=-1)
    assert not (tmp_path / "set").exists()
