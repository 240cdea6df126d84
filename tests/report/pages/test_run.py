"""The page: self-contained, bounded, escaped, the same every time, whole or not there."""

from __future__ import annotations

import json
import re
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from helpers.fake_run import fake_samples, fake_scenario, write_fake_run
from helpers.html_page import Page

from streamstop.errors import UsageError
from streamstop.report.pages.run import render, write_report
from streamstop.report.views.run import load_snapshot

MakeRun = Callable[..., Path]
MAX_BYTES = 400_000


@pytest.fixture
def fake_run(tmp_path: Path) -> MakeRun:
    """Make a run folder with test data; takes what `write_fake_run` takes."""
    return lambda name="run", **options: write_fake_run(tmp_path / name, **options)


def page_of(folder: Path) -> Page:
    return Page(render(load_snapshot(folder)))


VARIANTS = {
    "labelled": {},
    "simulated": {"simulated": True},
    "unlabelled": {"labelled": False},
    "damaged": {"status": "damaged"},
    "one segment": {"segments": 3, "classes": ("a", "b")},
    "36 classes": {"classes": tuple(f"class {i}" for i in range(36)), "segments": 700},
    "a changing stream": {"overrides": fake_scenario()},
    "sample pictures": {"samples": fake_samples(6, 64, 32)},
    "101 classes": {"classes": tuple(f"class {i}" for i in range(101)), "segments": 900},
}


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_nothing_is_loaded_and_nothing_runs(fake_run: MakeRun, options: dict[str, object]) -> None:
    text = render(load_snapshot(fake_run(**options)))
    page = Page(text)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base"} & set(page.tags)
    names = {name for name, _ in page.attributes}
    assert not {"src", "srcset", "xlink:href", "href", "action", "data"} & names
    assert not any(name.startswith("on") for name in names)
    assert "url(" not in text and "@import" not in text and "http:" not in text
    assert "default-src 'none'" in text
    assert len(text.encode()) < MAX_BYTES


def test_sections_come_in_their_order(fake_run: MakeRun) -> None:
    text = render(load_snapshot(fake_run()))
    titles = [
        "The learner and its baselines",
        "Accuracy over the run",
        "By class",
        "Confusion matrix",
        "Inside the network",
        "Event ledger",
        "Speed",
        "Memory",
        "Protocol",
        "Provenance",
    ]
    assert re.findall(r"<h2>([^<]*)</h2>", text) == titles
    for name in ("firing", "threshold", "leak", "loss", "accuracy", "confusion"):
        assert f'id="{name}-t"' in text


@pytest.mark.parametrize("overrides", [None, fake_scenario()])
def test_a_decision_maker_has_one_colour_in_table_chart_and_legend(
    fake_run: MakeRun, overrides: dict[str, object] | None
) -> None:
    text = render(load_snapshot(fake_run(overrides=overrides)))
    rows = re.findall(
        r'class="name keyed"><svg[^>]*><line[^>]* class="s(\d)"[^>]*/></svg><b>([^<]*)</b>'
        r'.*?<span class="f(\d)( dashed)?"',
        text,
        re.S,
    )
    table = {name: (bar, bool(dashed)) for key, name, bar, dashed in rows if key == bar}
    assert len(table) == len(rows) == 8, "a line and a bar of one row differ in colour"
    legend = {
        name: (colour, "stroke-dasharray" in rest)
        for colour, rest, name in re.findall(
            r'<li><svg[^>]*><line[^>]* class="s(\d)"([^>]*)/></svg><span>([^<]*)</span><b>', text
        )
    }
    shown = legend.keys() & table.keys()
    assert len(shown) >= 4 and all(legend[name] == table[name] for name in shown)
    assert len(set(table.values())) == len(table), "two rows look the same"


def test_a_changing_stream_has_its_sections(fake_run: MakeRun) -> None:
    folder = fake_run(overrides=fake_scenario())
    text = render(load_snapshot(folder))
    titles = re.findall(r"<h2>([^<]*)</h2>", text)
    new = ["Drift detection", "By domain", "Held-out evaluation"]
    assert titles[2:5] == new and "Operations per bin" in titles
    page = Page(text).text
    assert "The stream changed once, after 128 segments" in page
    assert "Backward transfer" in page and "−12.5" in page
    assert "123 k" in page and "effective multiply-accumulates" in page
    summary = json.loads((folder / "summary.json").read_text())
    for key in fake_scenario():
        older = {k: v for k, v in summary.items() if k != key}
        (folder / "summary.json").write_text(json.dumps(older))
        Page(render(load_snapshot(folder)))


def test_a_mixed_stream_without_alarms_says_so(fake_run: MakeRun) -> None:
    scenario = fake_scenario(alarms=0)
    text = page_of(fake_run(overrides={k: scenario[k] for k in ("drift", "per_domain")})).text
    assert "No drift detector raised an alarm" in text and "they are mixed" in text
    assert "Drift detection" not in text and "Alarms of drift detectors" not in text


def test_the_largest_page_is_under_a_megabyte(fake_run: MakeRun) -> None:
    names = tuple(f"a class of some length {i}" for i in range(40))
    scenario = fake_scenario(5000, spans=60, alarms=200, tasks=64)
    text = render(load_snapshot(fake_run(segments=5000, classes=names, overrides=scenario)))
    assert len(text.encode()) < 1_000_000
    page = Page(text)
    assert page.text.count("TEST domain 59") >= 1 and "after 64 TEST task 63" in page.text
    assert page.attributes.count(("class", "moment many")) == 59


def test_the_facts_of_a_run(fake_run: MakeRun) -> None:
    folder = fake_run()
    summary = json.loads((folder / "summary.json").read_text())
    text = page_of(folder).text
    assert "257 segments of real data" in text and "Real data" in text
    assert summary["command"] in text
    assert "bin_us = 10000" in text
    assert "✓ It balances." in text
    assert "does not balance" not in text
    for version in summary["versions"].values():
        assert version in text


def test_simulated_data_are_marked(fake_run: MakeRun) -> None:
    assert "Simulated data" in page_of(fake_run(simulated=True)).text
    assert "Simulated data" not in page_of(fake_run("other")).text


def test_unlabelled_has_predictions_and_no_scores(fake_run: MakeRun) -> None:
    folder = fake_run(labelled=False)
    text = page_of(folder).text
    assert "Nothing was scored" in text and "Predictions" in text
    assert "baselines" not in text and "recall" not in text
    predictions = json.loads((folder / "summary.json").read_text())["predictions"]
    for name, count in predictions.items():
        assert f"{name} {count:,}" in text.replace("  ", " ")


def test_a_ledger_that_does_not_balance_is_shown_so(fake_run: MakeRun) -> None:
    ledger = {"received": 1000, "binned": 900, "dropped": {"overflow": 20}, "pending": 10}
    text = page_of(fake_run(overrides={"ledger": ledger})).text
    assert "It does not balance: 1,000 against 930" in text and "✓ It balances" not in text
    assert "dropped: overflow" in text


def test_scores_per_bin_are_not_in_the_headline_row(fake_run: MakeRun) -> None:
    text = render(load_snapshot(fake_run()))
    (row,) = re.findall(r'<div class="tiles">(.*?)\n  </div>', text, re.S)[:1]
    assert "balanced accuracy" in row and "per bin" not in row
    table = text[text.index("<h3>Further scores</h3>") : text.index("Accuracy over the run</h2>")]
    assert "kappa temporal per bin" in table and "<td>−3.2</td>" in table
    older = fake_run("older", overrides={"accuracy": {"segment": 0.9, "segment_last_third": 0.9}})
    assert "Further scores" not in page_of(older).text


def test_events_input_and_errors_have_pictures(fake_run: MakeRun) -> None:
    text = render(load_snapshot(fake_run(samples=fake_samples())))
    titles = re.findall(r"<h2>([^<]*)</h2>", text)
    at = titles.index("Confusion matrix")
    assert titles[at + 1 : at + 3] == ["Sample errors", "Events and network input"]
    assert text.count('<svg class="events"') == 5
    page = Page(text).text.replace("\N{NO-BREAK SPACE}", " ")
    assert "12,345 events in 80 ms; sensor 346×260, shown as 32×32 cells" in page
    assert "one bin of 10 ms; 32×32 cells; class TEST mug" in page
    assert "segment 7 true: TEST box predicted: TEST mug" in page


def test_an_unlabelled_run_has_its_events_and_its_input(fake_run: MakeRun) -> None:
    samples = fake_samples(0) | {"errors": []}
    text = page_of(fake_run(labelled=False, samples=samples)).text
    assert "Events and network input" in text and "Sample errors" not in text


def test_without_samples_there_is_no_section_and_damage_costs_only_the_pictures(
    fake_run: MakeRun,
) -> None:
    folder = fake_run()
    text = page_of(folder).text
    assert "network input" not in text and "samples.json" not in text
    (folder / "samples.json").write_text('{"errors": [{"segment": ')
    text = page_of(folder).text
    assert "No sample pictures: samples.json cannot be read" in text and "Event ledger" in text


NASTY = "<script>alert('x')</script>\"&{{ 7*7 }}"


def test_names_and_paths_are_escaped(fake_run: MakeRun) -> None:
    damage = [{"offset": 1, "lost_bytes": 2, "reason": NASTY, "path": NASTY}]
    folder = fake_run(
        classes=(NASTY, "b" * 10_000, "", "mug"),
        layers=(NASTY,),
        status=NASTY,
        samples={
            "event_picture": {"on": [[1]], "off": [[0]], "recording": NASTY, "sensor": [1, 1]},
            "network_input": {"on": [[1]], "off": [[0]], "label": NASTY},
            "errors": [
                {"segment": 1, "label": NASTY, "prediction": NASTY, "on": [[1]], "off": [[0]]}
            ],
        },
        overrides={
            "name": NASTY,
            "command": NASTY,
            "source": NASTY,
            "seed": NASTY,
            "protocol": {NASTY: NASTY, "update": NASTY, "decision": NASTY},
            "versions": {NASTY: NASTY},
            "scenario": {"spans": [[0, 99, NASTY], [100, 256, "b"]], "drifts": [100]},
            "drift": {"alarms": [{"segment": 99, "detector": NASTY, "signal": NASTY}]},
            "per_domain": [
                {"domain": name, "segments": 1, "first": 0, NASTY: 1.0} for name in (NASTY, "b")
            ],
            "continual": {
                "tasks": [NASTY, "b"],
                "taught": [0, 1],
                "makers": {name: {"r": [[0, 1], [1, 0]]} for name in ("headline", NASTY)},
            },
            "ledger": {
                "received": 1,
                "binned": 0,
                "dropped": {NASTY: 1},
                "pending": 0,
                "damage": damage,
            },
        },
    )
    (folder / "config.toml").write_text(f"# {NASTY}")
    text = render(load_snapshot(folder))
    page = Page(text)
    assert "script" not in page.tags
    assert NASTY in page.text
    assert "{{ 7*7 }}" in page.text, "a name was run as a template"
    assert "b" * 100 not in page.text


def test_the_same_run_gives_the_same_page(fake_run: MakeRun) -> None:
    assert render(load_snapshot(fake_run("a"))) == render(load_snapshot(fake_run("b")))


def test_a_long_run_gives_a_small_page_in_bounded_memory(fake_run: MakeRun) -> None:
    names = tuple(f"conv{i}" for i in range(11))
    folder = fake_run(segments=200, classes=tuple("0123456789"), layers=names)
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    with (folder / "metrics.jsonl").open("w") as file:
        for i in range(100_000):
            file.write(lines[i % len(lines)].replace(f'"segment": {i % 200},', f'"segment": {i},'))
    tracemalloc.start()
    text = render(load_snapshot(folder))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(text.encode()) < MAX_BYTES
    assert peak < 24e6
    assert "100,000 records" in text


def test_written_whole_or_not_at_all(fake_run: MakeRun, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = fake_run()
    path = write_report(folder)
    assert path == folder / "report.html"
    first = path.read_text(encoding="utf-8")
    assert first == render(load_snapshot(folder))

    def no_space(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", no_space)
    with pytest.raises(OSError, match="No space"):
        write_report(folder)
    assert path.read_text(encoding="utf-8") == first
    assert [p.name for p in folder.glob("*report*")] == ["report.html"]


def test_an_unfinished_run_gets_no_report(fake_run: MakeRun) -> None:
    folder = fake_run()
    (folder / "summary.json").unlink()
    with pytest.raises(UsageError):
        write_report(folder)
    assert not (folder / "report.html").exists()


def test_a_path_that_is_no_text_does_not_stop_the_report(fake_run: MakeRun) -> None:
    path = write_report(fake_run(overrides={"source": "caf\udce9/rec.aedat4"}))
    assert "rec.aedat4" in path.read_text(encoding="utf-8")


def test_a_run_that_scored_nothing_yet(fake_run: MakeRun) -> None:
    none = {"segment": None, "segment_last_third": None}
    folder = fake_run(
        status="interrupted",
        overrides={
            "n_segments": 0,
            "n_bins": 3,
            "accuracy": none,
            "accuracy_by_readout": {"linear": none, "lda": none},
            "baselines": {"softmax_counts": none, "lda_counts": none},
            "confusion": [],
            "per_class": [],
            "speed": {},
            "memory": {},
            "network": {},
        },
    )
    (folder / "metrics.jsonl").write_text("")
    text = page_of(folder).text
    assert "Interrupted" in text and "made no prediction that could be scored" in text
