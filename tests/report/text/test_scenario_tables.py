"""Tables of a changing stream: the best by domain, R, and operations per bin."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

from helpers.fake_run import fake_scenario, write_fake_run

from streamstop.report.text.scenario_tables import (
    domain_columns,
    domain_rows,
    matrix,
    operation_tiles,
    other_matrices,
    transfer_rows,
)
from streamstop.report.views.run import Snapshot, load_snapshot
from streamstop.report.views.scenario import DomainScore, HeldOut, HeldOutScores


def test_the_best_of_each_domain_is_marked(changing: Snapshot) -> None:
    domains = (
        DomainScore(
            "TEST domain 0", 10, 0, {"headline": 0.5, "softmax_counts": 0.5, "initial_network": 0.1}
        ),
        DomainScore(
            "TEST domain 1",
            10,
            10,
            {"headline": 0.2, "softmax_counts": 0.9, "initial_network": None},
        ),
        DomainScore(None, 4, 20, {"headline": 1.0}),
    )
    snapshot = replace(changing, domains=domains)
    assert domain_columns(snapshot) == [
        ("headline", "headline"),
        ("softmax_counts", "softmax on counts"),
        ("initial_network", "untrained"),
    ]
    rows = domain_rows(snapshot)
    assert [[best for _, best in row.cells] for row in rows] == [
        [True, True, False],
        [False, True, False],
        [True, False, False],
    ]
    assert [(row.number, row.name) for row in rows] == [
        ("1", "TEST domain 0"),
        ("2", "TEST domain 1"),
        ("", "all further domains"),
    ]
    assert rows[1].cells[2] == ("–", False)


def test_a_single_domain_is_no_table(changing: Snapshot) -> None:
    assert domain_rows(replace(changing, domains=changing.domains[:1])) == []


R = HeldOutScores("headline", (0.0, 0.25), ((1.0, 0.5), (None, 0.999)), 0.9, -0.1, 0.2, 0.1)


def test_r_says_its_numbers_and_frames_what_was_taught() -> None:
    text = matrix(HeldOut(("mug", "box"), (0, 1), (R,)), R)
    rows = re.findall(r'<tr><th scope="row">([^<]*)</th>(.*?)</tr>', text)
    assert [name for name, _ in rows] == ["before", "after mug", "after box"]
    assert rows[0][1] == '<td class="h0">0</td><td class="h2">25</td>'
    assert rows[1][1] == '<td class="h10 t">100</td><td class="h5">50</td>'
    assert rows[2][1] == '<td>–</td><td class="h10 t">&gt;99</td>'


def test_r_of_long_names_is_numbered() -> None:
    held = HeldOut(("a <b> name that is long", "box"), (1, 0), (R,))
    text = matrix(held, R)
    assert 'title="a &lt;b&gt; name that is long">1</th>' in text
    assert "after <i>2</i> box" in text


def test_r_of_an_older_run_has_no_row_before() -> None:
    assert "before" not in matrix(HeldOut(("a", "b"), (0, 1), (R,)), replace(R, before=()))


def test_the_learner_comes_after_its_equals(changing: Snapshot) -> None:
    tested = tuple(
        replace(R, key=key, average_accuracy=value)
        for key, value in (
            ("headline", 0.9),
            ("softmax_counts", 0.9),
            ("frozen_features_lda", None),
            ("lda", 0.8),
        )
    )
    rows = transfer_rows(replace(changing, held_out=HeldOut(("a", "b"), (0, 1), tested)))
    assert [(row.key, row.best) for row in rows] == [
        ("softmax_counts", True),
        ("headline", True),
        ("lda", False),
        ("frozen_features_lda", False),
    ]


def test_everyone_else_s_r_is_there_unless_it_is_large(changing: Snapshot, tmp_path: Path) -> None:
    names = [name for name, _ in other_matrices(changing)]
    assert len(names) == 6 and "headline prediction" not in names
    large = write_fake_run(tmp_path / "large", overrides=fake_scenario(tasks=30))
    assert other_matrices(load_snapshot(large)) == []


def test_operations_are_tiles_where_the_run_counts_them(changing: Snapshot) -> None:
    tiles = [
        (value.replace("\N{NO-BREAK SPACE}", " "), content)
        for value, content in operation_tiles(changing)
    ]
    assert [value for value, _ in tiles] == [
        *("123 k", "65.4 k", "2.35 M", "93.8 %", "0 %", "4,321", "7.65 M", "1.5 MB")
    ]
    assert operation_tiles(replace(changing, operations={})) == []
    odd = {"synaptic_operations": 7, "learning_operations": None}
    assert operation_tiles(replace(changing, operations=odd)) == []
