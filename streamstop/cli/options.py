"""Options that several commands take, each written once."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from typer.core import TyperCommand

RENAMED_FLAGS = {
    "--seconds": "--duration",
    "--no-times": "--no-timestamps",
    "--wait": "--client-timeout",
}
"""Old spellings, which commands still take and --help does not show."""


class RenamedFlagsCommand(TyperCommand):
    """A command that takes its flags by their old names too."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args`, old names replaced."""
        flags = args[: args.index("--")] if "--" in args else args
        renamed = []
        for arg in flags:
            name, equals, value = arg.partition("=")
            renamed.append(RENAMED_FLAGS.get(name, name) + equals + value)
        return super().parse_args(ctx, renamed + args[len(flags) :])


Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="SECTION.KEY=VALUE",
        help="Change one setting; may be repeated.",
        show_default=False,
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", metavar="", help="No progress bar.")]
Json = Annotated[bool, typer.Option("--json", metavar="", help="The same as JSON on stdout.")]
Strict = Annotated[
    bool, typer.Option("--strict", metavar="", help="Stop at the first damaged input (exit 4).")
]
Sensor = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        help="Pixels of the sensor, where the source does not say.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="Format of the new file, where its name does not tell: aedat4, aedat3, aedat2, evt3, "
        "evt2, dat, npz, npy, csv, bin.",
        show_default=False,
    ),
]
OnBit = Annotated[
    int,
    typer.Option(
        metavar="0|1",
        help="AEDAT 2.0 only: the address bit that ON is written as. 0 as jAER reads it; 1 for "
        "loaders of CIFAR10-DVS that take ON to be 1.",
    ),
]
FromZero = Annotated[
    bool,
    typer.Option(
        "--from-zero",
        metavar="",
        help="Times count from the first event; for formats that cannot say a camera's clock.",
    ),
]
Force = Annotated[bool, typer.Option("--force", "-f", metavar="", help="Replace what is there.")]
