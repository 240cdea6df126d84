"""The benchmark of forgetting: what was chosen on what, and that the page says so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks.studies import continual


def names(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.bin")}


def test_digits_that_chose_are_none_that_figures_are_of(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for i in range(100):
        path = tmp_path / "data" / "nmnist-small" / "Train" / str(i % 2) / f"{i:05}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    monkeypatch.setattr(continual, "DATA", tmp_path / "data")
    halves = []
    for half in (0, 1):
        (tmp_path / str(half)).mkdir()
        halves.append(names(continual.digits(half, tmp_path / str(half))))
    assert [len(one) for one in halves] == [2 * continual.DIGITS] * 2
    assert not halves[0] & halves[1]


def test_seeds_that_chose_are_none_that_figures_are_of() -> None:
    assert not set(continual.CHOOSING) & set(range(5))


def test_what_was_tuned_on_its_own_stream_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    figures: dict[str, Any] = dict.fromkeys(continual.FIGURES, 0.5)
    made_up = dict.fromkeys(continual.MAKERS, figures)
    monkeypatch.setattr(continual.Stream, "run", lambda *_: made_up)
    pages = {name: list(continual.class_after_class(name, 2))[-1] for name in continual.STREAMS}
    tuned = [
        name for name, lines in pages.items() if "chosen on these held-out" in "\n".join(lines)
    ]
    assert tuned == ["objects"]
    assert "| the recipe: LDA readout | 0.500 ± 0.000" in "\n".join(pages["N-MNIST"])
