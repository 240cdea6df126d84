"""`streamstop simulate`: sets in the layout of the real ones, made without a camera."""

from __future__ import annotations

from typing import Annotated

import typer

from streamstop.cli.errors import errors_told

app = typer.Typer(
    help="Write simulated sets in the official layouts: to develop on, never to compare by.",
    no_args_is_help=True,
    add_completion=False,
)

Out = Annotated[str, typer.Argument(metavar="OUT", help="Folder to write to; it may grow later.")]
Seed = Annotated[int, typer.Option(help="Seed of all that is drawn.")]
Jobs = Annotated[int, typer.Option(help="Processes to record in.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress.")]


@app.command("dvs-gesture")
def dvs_gesture(
    out: Out,
    users: Annotated[int, typer.Option(help="Subjects.")] = 29,
    lightings: Annotated[int, typer.Option(help="Lightings, of five.")] = 5,
    seed: Seed = 0,
    jobs: Jobs = 1,
    quiet: Quiet = False,
) -> None:
    """DVS-Gesture: AEDAT 3.1 recordings, label CSVs, lists of trials. SIMULATED."""
    with errors_told("what stands is whole; the same command goes on"):
        from streamstop.simulation.gesture_set import SetOptions, write_gesture_set

        written = write_gesture_set(
            out,
            SetOptions(seed=seed),
            users=users,
            lightings=lightings,
            jobs=jobs,
            progress=None if quiet else _tell,
        )
        print(f"{written} SIMULATED recordings written: {out}")


@app.command("cifar10-dvs")
def cifar10_dvs(
    out: Out,
    images: Annotated[str, typer.Option(metavar="DIR", help="CIFAR-10: a folder or tar.")],
    per_class: Annotated[int, typer.Option(help="Recordings of each class.")] = 1000,
    seed: Seed = 0,
    jobs: Jobs = 1,
    quiet: Quiet = False,
) -> None:
    """CIFAR10-DVS: still images moved before a DVS128, AEDAT 2.0. SIMULATED."""
    with errors_told("what stands is whole; the same command goes on"):
        from streamstop.simulation.cifar10_set import write_cifar10_set

        written = write_cifar10_set(
            out,
            images,
            per_class=per_class,
            seed=seed,
            jobs=jobs,
            progress=None if quiet else _tell,
        )
        print(f"{written} SIMULATED recordings written: {out}")


def _tell(written: str, done: int, total: int) -> None:
    typer.echo(f"{done} of {total}: {written}", err=True)
