"""The benchmarks of rules, on little: every contender runs, and the page says what was found."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.studies import ablation, contest, order

TINY = ["train.epochs=1", 'network.layers=["conv 3 pool 2"]', "train.lr_leak=0.01"]


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(order, "MOVING_SAMPLES", (80, 40))


@pytest.mark.usefixtures("small")
def test_every_contender_of_the_order_task_is_run_and_stands_on_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = contest.Store(tmp_path / "order.jsonl")
    store.run(order.jobs_of("moving", [0, 1], TINY))
    lines = store.lines()
    assert len(lines) == 2 * (len(order.RULES) + 1)
    assert all(0 <= one["accuracy"] <= 1 for one in lines)
    text = "\n".join(order.section("moving", store, TINY))
    for rule in (*(one.name for one in order.RULES), order.LDA):
        assert f"| {rule} |" in text
    assert "2 of 5 runs" in text
    leaks = {one["rule"]: one.get("leaks") for one in lines}
    assert leaks[contest.W.name] == leaks[contest.FROZEN.name] == [0.9]
    assert leaks[contest.WTL.name] != [0.9]


def test_what_is_asked_is_said_to_be_met_or_not() -> None:
    found = {
        contest.WTL.name: {0: 0.8, 1: 0.9},
        contest.W.name: {0: 0.86, 1: 0.86},
        contest.SLTT.name: {0: 0.6, 1: 0.6},
        order.LDA: {0: 0.7},
        contest.BPTT_WTL.name: {0: 0.87, 1: 0.87},
    }
    lines = order.verdict(found)
    assert [("not met" in line) for line in lines] == [True, False, True, False]
    leads = [line.partition("it is ")[2][:6] for line in lines]
    assert leads == ["-0.010", "+0.250", "+0.100", "-0.020"]
    assert order.verdict({contest.W.name: {0: 0.5}}) == []


def test_settings_of_a_run_and_their_fingerprints() -> None:
    task = order.TASKS["moving"]
    config = order.configured(task, contest.SLTT, 7, ["train.lr=0.5"])
    assert (config.train.rule, config.train.trainable, config.run.seed) == ("sltt", ("weights",), 7)
    assert config.train.lr == 0.5
    one, same, other = (
        {job.key for job in order.jobs_of("moving", [0], sets)}
        for sets in ([], [], ["train.lr=0.5"])
    )
    assert one == same
    plain = order.configured(task, contest.WTL_PLAIN, 0)
    assert not plain.network.decay_input and plain.train.lr_leak == task.plain["train.lr_leak"]
    begun = order.configured(task, contest.W_FOUND, 0)
    assert (
        begun.train.trainable == ("weights",)
        and begun.network.leak_init == task.found["network.leak_init"]
    )
    assert order.configured(task, contest.WTL, 0).network.decay_input
    assert {key[1] for key in one & other} == {order.LDA}


def test_a_set_of_the_ablation_says_when_it_was_not_run_and_what_is_set_wins(
    tmp_path: Path,
) -> None:
    store = contest.Store(tmp_path / "ablation.jsonl")
    for name, task in ablation.TASKS.items():
        config = ablation.configured(task, contest.WT, 3, ["train.epochs=2"])
        assert (config.train.trainable, config.train.epochs, config.run.seed) == (
            ("weights", "thresholds"),
            2,
            3,
        )
        text = "\n".join(ablation.section(name, store, ()))
        assert "Not there" in text
    found = {contest.WTL.name: {0: 0.5}, contest.W.name: {0: 0.6}, contest.WTL_GAIN.name: {0: 0.6}}
    first, second, _ = ablation.verdict(found)
    assert first.endswith("-0.100: **not met**.") and second.endswith("with the leaks' gain: met.")
