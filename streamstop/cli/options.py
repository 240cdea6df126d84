"""Options that several commands share, and old names of flags."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from streamstop.config.aliases import current_key

RENAMED_FLAGS = {
    "--seconds": "--duration",
    "--no-times": "--no-timestamps",
    "--wait": "--client-timeout",
}
"""Old names of flags: still accepted, not shown in --help."""


class RenamedFlagsCommand(TyperCommand):
    """A command that also accepts the old names of its flags."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse `args` with old names replaced by the new ones."""
        flags = args[: args.index("--")] if "--" in args else args
        renamed = []
        for arg in flags:
            name, equals, value = arg.partition("=")
            renamed.append(RENAMED_FLAGS.get(name, name) + equals + value)
        return super().parse_args(ctx, renamed + args[len(flags) :])


def is_set(key: str, sets: Sequence[str] | None) -> bool:
    """Whether a --set names the setting `key`, written section.key, by this or an old name."""
    named = [text.partition("=")[0].strip().partition(".") for text in sets or ()]
    return any(f"{section}.{current_key(section, name)}" == key for section, _, name in named)


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
Json = Annotated[bool, typer.Option("--json", metavar="", help="Print the result as JSON.")]
Strict = Annotated[
    bool,
    typer.Option("--strict", metavar="", help="Stop at the first damaged input (exit code 4)."),
]
Sensor = Annotated[
    str | None,
    typer.Option(
        metavar="WxH",
        help="Sensor size in pixels, if the source does not give it.",
        show_default=False,
    ),
]
Format = Annotated[
    str | None,
    typer.Option(
        help="Format of the new file, if not clear from its name: aedat4, aedat3, aedat2, evt3, "
        "evt2, dat, npz, npy, csv, bin, dsec, metavision-hdf5.",
        show_default=False,
    ),
]
OnBit = Annotated[
    int,
    typer.Option(
        metavar="0|1",
        help="AEDAT 2.0 only: address bit of ON events: 0 as jAER reads it, 1 for loaders of "
        "CIFAR10-DVS that take 1 as ON.",
    ),
]
FromZero = Annotated[
    bool,
    typer.Option(
        "--from-zero",
        metavar="",
        help="Shift times so that the first event is at 0; for formats with small time fields.",
    ),
]
Columns = Annotated[
    str | None,
    typer.Option(
        metavar="txyp",
        help="Text only: order of the columns, the letters t, x, y, p.",
        show_default=False,
    ),
]
Unit = Annotated[
    str | None,
    typer.Option(
        metavar="s|ms|us|ns",
        help="Text only: unit of the times. [dim]\\[default: us][/dim]",
        show_default=False,
    ),
]
Force = Annotated[
    bool, typer.Option("--force", "-f", metavar="", help="Overwrite an existing file.")
]
