"""The contest of rules: runs that are kept, found again, shared, and summed up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benchmarks._shared import page
from benchmarks.studies import contest
from benchmarks.studies.contest import Job, Store


def jobs(done: list[Any], n: int = 4, digest: str = "d") -> list[Job]:
    def do(seed: int) -> dict[str, Any]:
        done.append(seed)
        return {"accuracy": seed / 10}

    return [Job("task", "rule", seed, digest, lambda seed=seed: do(seed)) for seed in range(n)]


def test_what_was_done_is_not_done_again_and_other_settings_are_other_runs(tmp_path: Path) -> None:
    store, done = Store(tmp_path / "runs" / "x.jsonl"), []
    store.run(jobs(done, 2))
    store.run(jobs(done))
    assert done == [0, 1, 2, 3]
    store.run(jobs(done, 1, "other"))
    assert done == [0, 1, 2, 3, 0]
    assert len(store.lines()) == 5


def test_a_line_that_a_crash_cut_short_is_done_again_and_spoils_no_other(tmp_path: Path) -> None:
    store, done = Store(tmp_path / "x.jsonl"), []
    store.run(jobs(done, 3))
    store.path.write_bytes(store.path.read_bytes()[:-9])
    store.run(jobs(done))
    assert done == [0, 1, 2, 2, 3]
    assert sorted(one["seed"] for one in store.lines()) == [0, 1, 2, 3]


def test_shards_do_all_jobs_once(tmp_path: Path) -> None:
    store, first, second = Store(tmp_path / "x.jsonl"), [], []
    store.run(jobs(first), contest.read_shard("0/2"))
    store.run(jobs(second), contest.read_shard("1/2"))
    assert (first, second) == ([0, 2], [1, 3])
    for wrong in ("2/2", "a/b", "1"):
        with pytest.raises(ValueError):
            contest.read_shard(wrong)


def test_means_spreads_and_pairs() -> None:
    assert page.spread([0.5, None, 0.7]) == "0.600 ± 0.141"
    assert contest.paired({0: 0.5, 1: 0.9}, {0: 0.4, 1: 0.7, 2: 0.1}) == "+0.150 (0.050)"
    runs = {0: {"accuracy": 0.5, "leaks": [0.5, 0.7]}, 1: {"accuracy": None, "leaks": []}}
    assert contest.accuracies(runs) == {0: 0.5}
    assert contest.counted(runs, 3) == "1 of 3 runs, 1 diverged"
    assert (
        contest.mean_of({0: {"leaks": [0.5, 0.7]}, 1: {"leaks": [0.7, 0.7]}}, "leaks")
        == "0.60 0.70"
    )
