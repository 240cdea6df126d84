"""`streamstop simulate`: options and output."""

from __future__ import annotations

from typing import Annotated

import typer

from streamstop.cli.errors import exit_on_error

app = typer.Typer(
    help="Write simulated data sets in the official layouts, for development only.",
    no_args_is_help=True,
    add_completion=False,
)

Out = Annotated[
    str, typer.Argument(metavar="OUT", help="Folder to write to; it can be extended later.")
]
Seed = Annotated[int, typer.Option(help="Random seed.")]
Jobs = Annotated[int, typer.Option(help="Parallel processes.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress output.")]


@app.command("dvs-gesture")
def dvs_gesture(
    out: Out,
    users: Annotated[int, typer.Option(help="Number of subjects.")] = 29,
    lightings: Annotated[int, typer.Option(help="Number of lightings, at most 5.")] = 5,
    seed: Seed = 0,
    jobs: Jobs = 1,
    quiet: Quiet = False,
) -> None:
    """Simulate DVS-Gesture: AEDAT 3.1 recordings, label CSVs, lists of trials."""
    with exit_on_error("finished recordings are complete; run the same command to continue"):
        from streamstop.simulation.gesture_set import SetOptions, write_gesture_set

        written = write_gesture_set(
            out,
            SetOptions(seed=seed),
            users=users,
            lightings=lightings,
            jobs=jobs,
            progress=None if quiet else _print_progress,
        )
        print(f"{written} SIMULATED recordings written: {out}")


@app.command("cifar10-dvs")
def cifar10_dvs(
    out: Out,
    images: Annotated[str, typer.Option(metavar="DIR", help="CIFAR-10: a folder or a tar file.")],
    per_class: Annotated[int, typer.Option(help="Recordings per class.")] = 1000,
    seed: Seed = 0,
    jobs: Jobs = 1,
    quiet: Quiet = False,
) -> None:
    """Simulate CIFAR10-DVS: still images moved in front of a DVS128, AEDAT 2.0."""
    with exit_on_error("finished recordings are complete; run the same command to continue"):
        from streamstop.simulation.cifar10_set import write_cifar10_set

        written = write_cifar10_set(
            out,
            images,
            per_class=per_class,
            seed=seed,
            jobs=jobs,
            progress=None if quiet else _print_progress,
        )
        print(f"{written} SIMULATED recordings written: {out}")


def _print_progress(written: str, done: int, total: int) -> None:
    typer.echo(f"{done} of {total}: {written}", err=True)
