"""The binner against a reference that follows its rules one event at a time, in plain Python."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from streamstop.events import pixel_filters
from streamstop.events.binning import Binner, pixel_to_cell_map
from streamstop.events.hot_pixels import HotPixel
from streamstop.events.packet import SensorSize, make_events

SENSOR = SensorSize(6, 4)
LIMIT = 1 << 60
FIRST_WINDOW_US, WINDOW_US, HOT_FROM = 30, 70, 3


def three_or_more(counts):
    """A rule that short streams can meet."""
    rows, columns = np.nonzero(counts >= HOT_FROM)
    return [HotPixel(int(x), int(y), int(counts[y, x])) for y, x in zip(rows, columns, strict=True)]


@pytest.fixture(autouse=True, scope="module")
def short_windows():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pixel_filters, "FIRST_WINDOW_US", FIRST_WINDOW_US)
        patch.setattr(pixel_filters, "WINDOW_US", WINDOW_US)
        patch.setattr(pixel_filters, "hot_pixels", three_or_more)
        yield


class Reference:
    """Every rule of the binner's docstring, with dictionaries and without a ring."""

    def __init__(
        self,
        bin_us,
        reorder_window_us,
        reset_gap_us,
        origin_us,
        representation,
        resize_mode,
        height,
        width,
        hot_pixels="keep",
        refractory_us=0,
    ):
        self.masks, self.refractory_us = hot_pixels == "mask", refractory_us
        self.look_at = None
        self.seen: Counter[tuple[int, int]] = Counter()
        self.latest: dict[tuple[int, int], int] = {}
        self.masked: list[tuple[int, int, int, int]] = []
        self.bin_us, self.reorder_window_us, self.reset_gap_us = (
            bin_us,
            reorder_window_us,
            reset_gap_us,
        )
        self.columns, self.rows = pixel_to_cell_map(SENSOR, height, width, resize_mode)
        self.shape = (2, height, width)
        self.binary = representation == "binary"
        self.origin = self.now = self.floor = self.era = origin_us
        self.era_index = self.next_index = 0
        self.open: dict[int, Counter[tuple[int, int, int]]] = {}
        self.done: list[tuple[Any, ...]] = []
        self.reset = False
        self.jumps = self.binned = 0
        self.rejected: Counter[str] = Counter()

    def index_of(self, t):
        return self.era_index + (t - self.era) // self.bin_us

    def start_of(self, index):
        return self.era + (index - self.era_index) * self.bin_us

    def close_before(self, index):
        while self.next_index < index:
            cells = self.open.pop(self.next_index, Counter())
            counts = np.zeros(self.shape, np.int32)
            for cell, n in cells.items():
                counts[cell] = min(n, 1) if self.binary else n
            start = self.origin + self.next_index * self.bin_us
            end = start + self.bin_us
            events = sum(cells.values())
            clock = self.start_of(self.next_index)
            row = (self.next_index, start, end, counts.tolist(), events, self.reset, clock)
            self.done.append(row)
            self.binned += events
            self.next_index += 1
            self.reset = False

    def close_open(self):
        index = self.index_of(self.now)
        entered = self.now > self.start_of(index) or index in self.open
        self.close_before(index + entered)

    def jump(self, t, floor):
        self.jumps += 1
        self.close_open()
        if t > self.now:
            self.next_index = self.index_of(t)
        else:
            self.era, self.era_index = t, self.next_index
            self.latest.clear()
            if self.look_at is not None:
                self.look_at = t + max(self.look_at - self.now, 0)
        self.now = t
        self.floor = max(floor, self.start_of(self.next_index))
        self.reset = True

    def event(self, t, x, y, p):
        if x >= SENSOR.width or y >= SENSOR.height:
            self.rejected["out_of_range"] += 1
            return
        if abs(t) > LIMIT:
            self.rejected["bad_time"] += 1
            return
        if self.origin is None:
            self.origin = self.now = self.floor = self.era = t
        if t >= self.floor:
            self.look(t)
        if abs(t - self.now) > self.reset_gap_us:
            self.jump(t, t - self.reorder_window_us)
            self.look(t)
        elif t < self.floor:
            self.rejected["late"] += 1
            return
        self.now = max(self.now, t)
        self.floor = max(self.floor, self.now - self.reorder_window_us)
        self.close_before(self.index_of(self.floor))
        cell, pixel = (int(p), int(self.rows[y]), int(self.columns[x])), (x, y)
        hot = any(one[:2] == pixel for one in self.masked)
        if not hot:
            self.seen[pixel] += 1
        if min(cell) < 0:
            self.rejected["cropped"] += 1
        elif hot:
            self.rejected["hot_pixel"] += 1
        elif pixel in self.latest and abs(t - self.latest[pixel]) < self.refractory_us:
            self.rejected["refractory"] += 1
        else:
            self.latest[pixel] = max(t, self.latest.get(pixel, t))
            self.open.setdefault(self.index_of(t), Counter())[cell] += 1

    def look(self, t):
        if not self.masks or (self.look_at is not None and t < self.look_at):
            return
        if self.look_at is not None:
            found = [(x, y, n, t) for (x, y), n in self.seen.items() if n >= HOT_FROM]
            self.masked += sorted(found, key=lambda one: (one[1], one[0]))
            self.seen.clear()
        self.look_at = t + (FIRST_WINDOW_US if self.look_at is None else WINDOW_US)

    def advance(self, until):
        if self.origin is None or not self.floor < until <= LIMIT:
            return
        if until - self.now > self.reset_gap_us:
            self.jump(until, until)
        else:
            self.now, self.floor = max(self.now, until), until
            self.close_before(self.index_of(until))

    def flush(self):
        if self.origin is not None:
            self.close_open()
            start = self.start_of(self.next_index)
            self.now, self.floor = max(self.now, start), max(self.floor, start)


small_steps = st.one_of(
    st.integers(-3, 25),
    st.integers(-3, 3),
    st.integers(-30, 30),
    st.sampled_from([0, 1, 9, 10, 11, -10, 35, 36, 100, 101, -35, -36, -100, -101, 5000, -5000]),
)
places = st.one_of(
    st.tuples(st.integers(0, 7), st.integers(0, 5), st.booleans()),
    st.tuples(st.integers(1, 2), st.just(2), st.booleans()),  # pixels that send again and again
)


@st.composite
def streams(draw):
    """Events and vouches: steps small, on the edges of bins, and now and then a jump."""
    t = draw(st.sampled_from([0, 7, -1000, 1 << 59]))
    stream: list[tuple[Any, ...]] = []
    n = draw(st.sampled_from([1, 5, 20, 50]))  # left to itself hypothesis makes short lists
    for kind in draw(st.lists(st.sampled_from("eeeeeeeaaf"), min_size=n, max_size=n + 4)):
        step = draw(small_steps)
        if kind == "e":
            t += step
            stream.append(("event", t, *draw(places)))
        elif kind == "a":
            stream.append(("advance", t + step))
        else:
            stream.append(("flush",))
    return stream


@st.composite
def wild_streams(draw):
    """Times from anywhere in int64, as a damaged file has them."""
    edges = [LIMIT, LIMIT + 1, LIMIT - 1, (1 << 63) - 1, 0, 5]
    times = st.one_of(
        st.integers(-(1 << 63), (1 << 63) - 1),
        st.sampled_from(edges + [-t for t in edges] + [-(1 << 63)]),
    )
    stream: list[tuple[Any, ...]] = []
    for kind in draw(st.lists(st.sampled_from("eeeeaf"), max_size=15)):
        if kind == "e":
            stream.append(("event", draw(times), *draw(places)))
        else:
            stream.append(("advance", draw(times)) if kind == "a" else ("flush",))
    return stream


kinds = st.fixed_dictionaries(
    {
        "bin_us": st.sampled_from([1, 7, 10]),
        "reorder_window_us": st.sampled_from([0, 0, 1, 9, 10, 25]),
        "reset_gap_us": st.sampled_from([100, 35]),
        "origin_us": st.sampled_from([None, None, 0, -13]),
        "representation": st.sampled_from(["count", "binary"]),
        "resize_mode": st.sampled_from(["letterbox", "crop", "stretch"]),
        "height": st.sampled_from([2, 4]),
        "width": st.sampled_from([2, 9]),
        "hot_pixels": st.sampled_from(["keep", "mask"]),
        "refractory_us": st.sampled_from([0, 0, 1, 12, 60]),
    }
)


def agree_on(settings_of_binner: dict[str, Any], stream: list[tuple[Any, ...]], data: Any) -> None:
    binner = Binner(SENSOR, **settings_of_binner)
    reference = Reference(**settings_of_binner)
    done: list[tuple[Any, ...]] = []
    pushed = i = 0
    while i < len(stream):
        kind, *rest = stream[i]
        end = i + 1
        if kind == "event":
            run = i
            while run < len(stream) and stream[run][0] == "event":
                run += 1
            end = data.draw(st.integers(i + 1, run), label="packet ends before")
            packet = [event[1:] for event in stream[i:end]]
            bins = binner.push(make_events(*zip(*packet, strict=True)))
            for event in packet:
                reference.event(*event)
            pushed += len(packet)
        elif kind == "advance":
            bins = binner.advance(*rest)
            reference.advance(*rest)
        else:
            bins = binner.flush()
            reference.flush()
        i = end
        for b in bins:
            done.append((*b[:3], b.counts.tolist(), *b[4:]))
            assert pushed == binner.binned + binner.pending + sum(binner.rejected.values())
        assert pushed == binner.binned + binner.pending + sum(binner.rejected.values())
        assert done == reference.done
        rejected = {cause: n for cause, n in binner.rejected.items() if n}
        assert rejected == dict(reference.rejected)
        assert list(binner.masked_pixels) == reference.masked
        assert (binner.binned, binner.jumps) == (reference.binned, reference.jumps)


@given(kinds, streams(), st.data())
@settings(max_examples=500, deadline=None)
def test_agrees_with_the_reference_however_the_stream_is_cut(kind, stream, data):
    agree_on(kind, stream, data)


@given(kinds, wild_streams(), st.data())
@settings(max_examples=200, deadline=None)
def test_agrees_with_the_reference_on_times_of_a_damaged_file(kind, stream, data):
    agree_on(kind, stream, data)


@given(
    st.tuples(st.integers(1, 80), st.integers(1, 80)),
    st.tuples(st.integers(1, 40), st.integers(1, 40)),
    st.sampled_from(["letterbox", "crop", "stretch"]),
)
@settings(max_examples=300, deadline=None)
@example((1, 1), (32, 32), "crop")
def test_a_map_is_in_order_centred_and_of_one_scale(sensor, grid, fit):
    size = SensorSize(*sensor)
    height, width = grid
    whole = []
    for axis, cells in zip(
        pixel_to_cell_map(size, height, width, fit), (width, height), strict=True
    ):
        kept = axis[axis >= 0]
        assert len(kept) >= 1
        assert kept.max() < cells
        assert (np.diff(kept) >= 0).all()
        first, last = np.flatnonzero(axis >= 0)[[0, -1]]
        assert last - first + 1 == len(kept)  # what is cropped is cropped at the ends
        assert abs(first - (len(axis) - 1 - last)) <= 1
        if fit != "crop":
            assert len(kept) == len(axis)
        # Room left at both ends is equal, to the rounding of the border and of a pixel's centre.
        assert abs(kept[0] - (cells - 1 - kept[-1])) <= 2
        whole.append(len(kept) == len(axis))
    assert any(whole)
