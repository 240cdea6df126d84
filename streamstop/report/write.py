"""A page made anew from what a folder holds: a run, a run of several seeds, or a training.

It promises that nothing but the page is written, whole or not at all, and that a folder that is
none of these, or has not come to its end, is a UsageError that says what to do.
"""

from __future__ import annotations

from pathlib import Path

from streamstop.errors import UsageError
from streamstop.pipeline.summary_file import read_summary
from streamstop.report.pages.base import output_path
from streamstop.report.pages.run import write_report


def write_page(folder: Path | str, to: Path | str | None = None) -> Path:
    """Make a folder's page, in it or at `to`; give its path.

    Raises UsageError where the folder holds nothing that a page can be made of, or `to` is no place
    for one.
    """
    folder = Path(folder)
    if to is not None:
        to = output_path(to)
    if (folder / "train.json").is_file():
        from streamstop.report.pages.training import write_train_page

        return write_train_page(folder, to)
    if (folder / "epochs.jsonl").is_file():
        raise UsageError(
            "This training has no train.json: it is still going on, or it was stopped. Go on with: "
            f"streamstop train --resume {folder}"
        )
    if _holds_several_seeds(folder):
        from streamstop.report.pages.seeds import write_joint_report

        if to is not None:
            raise UsageError(
                "The report of several seeds names those of its seeds beside it; leave out --out, "
                f"or give the folder of one seed: {folder}"
            )
        return write_joint_report(folder)
    return write_report(folder, to)


def _holds_several_seeds(folder: Path) -> bool:
    """Whether the folder's summary has a kind, which a run's has not."""
    try:
        return "kind" in read_summary(folder)
    except UsageError:
        return False  # whoever reads it as a run's says what is wrong with it
