"""Lines of JSON for no terminal: one per second of the stream, from a run as from a snapshot."""

from __future__ import annotations

import io
import json

from helpers.snapshots import a_snapshot

from streamstop.live.json_lines import JsonLines


def lines_of(out: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(one) for one in out.getvalue().splitlines()]


def test_a_line_per_second_of_the_stream_and_per_state() -> None:
    out = io.StringIO()
    view = JsonLines(out)
    for tenth in range(25):
        view.show(a_snapshot(tenth + 1, stream_us=100_000 * tenth))
    view.show(a_snapshot(26, stream_us=2_450_000, state="ended"))
    found = lines_of(out)
    assert [(one["stream_s"], one["state"]) for one in found] == [
        (0.0, "running"), (1.0, "running"), (2.0, "running"), (2.45, "ended"),
    ]  # fmt: skip


def test_a_line_says_what_the_snapshot_holds() -> None:
    out = io.StringIO()
    JsonLines(out).show(a_snapshot(label="rock", latency_ms=None))
    (one,) = lines_of(out)
    assert one["prediction"] == "paper"
    assert one["probability"] == 0.7
    assert one["label"] == "rock"
    assert (one["accuracy"], one["baseline"], one["baseline_accuracy"]) == (
        0.94,
        "lda_counts",
        0.81,
    )
    assert one["dropped"] == {"overload": 120}
    assert one["latency_ms_p99"] is None
    assert "picture" not in one
    assert len(out.getvalue()) < 1000


def test_a_reader_that_is_gone_does_not_end_the_run() -> None:
    class Gone(io.StringIO):
        def write(self, _: str) -> int:
            raise BrokenPipeError

    view = JsonLines(Gone())
    view.show(a_snapshot(1))
    view.show(a_snapshot(2, state="ended"))


def test_what_was_inferred_is_a_line_too() -> None:
    class Inferred:
        notes = ("times are in ms", "polarity is 1 and 2")

    out = io.StringIO()
    JsonLines(out).opened(Inferred())  # type: ignore[arg-type]
    assert lines_of(out) == [{"note": one} for one in Inferred.notes]
