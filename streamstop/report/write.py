"""Writes the page of a finished folder: a run, a run of several seeds, or a training.

Guarantees:
- Only the page is written, as a whole or not at all.
- Any other folder, or an unfinished one, is a UsageError that says what to do.
"""

from __future__ import annotations

from pathlib import Path

from streamstop.errors import UsageError
from streamstop.pipeline.summary_file import read_summary
from streamstop.report.pages.base import output_path
from streamstop.report.pages.run import write_report


def write_page(folder: Path | str, to: Path | str | None = None) -> Path:
    """Write the page of a folder, in it or at `to`; return its path.

    Raises UsageError where the folder has no page, or a file cannot be written at `to`.
    """
    folder = Path(folder)
    if to is not None:
        to = output_path(to)
    if (folder / "train.json").is_file():
        from streamstop.report.pages.training import write_train_page

        return write_train_page(folder, to)
    if (folder / "epochs.jsonl").is_file():
        raise UsageError(
            "This training has no train.json: it is still running, or it was stopped. "
            f"Continue with: streamstop train --resume {folder}"
        )
    if _holds_several_seeds(folder):
        from streamstop.report.pages.seeds import write_joint_report

        if to is not None:
            raise UsageError(
                "The report of several seeds links to those of its seeds; leave out --out, "
                f"or give the folder of one seed: {folder}"
            )
        return write_joint_report(folder)
    return write_report(folder, to)


def _holds_several_seeds(folder: Path) -> bool:
    """Whether the folder is that of several seeds: only its summary has a "kind"."""
    try:
        return "kind" in read_summary(folder)
    except UsageError:
        return False  # The reader of a run's folder reports what is wrong with it.
