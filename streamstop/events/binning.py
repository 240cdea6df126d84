"""Online binning: events in, one tensor of counts per fixed time window out, empty ones included.

Guarantees:

- Bins depend only on the order of events, not on how these were cut into packets.
- Memory is a few open bins and no events, however long the stream; filters add two numbers a pixel.
- At every moment, between two bins of one packet too, pushed = binned + pending + rejected.

Does not:

- Move events in time: an event that fits no open bin is rejected, and counted by cause.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events._binning_loop import (
    BAD_TIME,
    CROPPED,
    CROPPED_AWAY,
    HOT_PIXEL,
    LATE,
    OUT_OF_RANGE,
    OUTSIDE,
    REFRACTORY,
    TIME_LIMIT_US,
    compiled_loop,
)
from streamstop.events.packet import EVENT_DTYPE, Events, SensorSize
from streamstop.events.pixel_filters import HotPixelMode, MaskedPixel, PixelFilters

ResizeMode = Literal["letterbox", "crop", "stretch"]
Representation = Literal["count", "binary"]

MAX_DESCRIBED_JUMPS = 16
"""Further jumps are counted, not described: a damaged file can hold any number of them."""

MAX_OPEN_EVENTS = (1 << 31) - 1
"""More events than this in the open bins could overflow a count, so the binner stops there."""


class Bin(NamedTuple):
    """The events of one window `[start_us, end_us)`.

    Attributes
    ----------
    index
        Which window, counted from the stream's origin; it only ever rises.
    start_us, end_us
        Origin + index * bin_us, and bin_us later. After a jump back in time these go on rising,
        so they are the stream's time, no longer the events' own.
    counts
        (2, height, width) int32, OFF events in plane 0, ON in plane 1; a fresh array, the
        caller's to keep. With `representation="binary"`, 1 where there was any event.
    events
        Events counted in it.
    reset
        True on the first bin after a jump in time: earlier state does not apply.
    clock_us
        Where the window begins in the events' own time, that of the labels: `start_us` until
        time has jumped back.
    """

    index: int  # type: ignore[assignment]  # in place of tuple.index, which no one needs here
    start_us: int
    end_us: int
    counts: NDArray[np.int32]
    events: int
    reset: bool
    clock_us: int


class TimeJump(NamedTuple):
    """A jump in time: back, or forward by more than `reset_gap_us`.

    Attributes
    ----------
    event
        Index, among all events pushed, of the event that jumped (or would have come next, where
        `advance` jumped).
    from_us, to_us
        Latest time before it, and the time jumped to, as the events tell it.
    """

    event: int
    from_us: int
    to_us: int

    def __str__(self) -> str:
        way = "forward" if self.to_us > self.from_us else "back"
        return (
            f"event {self.event}: time jumped {way} by {abs(self.to_us - self.from_us)} us, "
            f"from {self.from_us} us to {self.to_us} us"
        )


def pixel_to_cell_map(
    sensor: SensorSize, height: int, width: int, resize_mode: ResizeMode
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The column and row of the grid that each sensor column and row falls in, -1 where cropped.

    A pixel belongs to the cell that its centre lies in (on an edge: the next one), computed in
    whole numbers. Each event is one count in one cell: a sensor smaller than the grid leaves cells
    between its pixels empty.

    - letterbox: the whole sensor, its aspect kept (to half a cell), centred, zeros around it.
    - crop: the largest centred part of the sensor with the aspect of the grid fills the grid.
    - stretch: the whole sensor fills the grid, each axis scaled on its own.

    Returns
    -------
    columns : ndarray of shape (sensor.width,), int64
        The column of the grid per sensor column.
    rows : ndarray of shape (sensor.height,), int64
        The row of the grid per sensor row.

    Examples
    --------
    >>> columns, rows = pixel_to_cell_map(SensorSize(346, 260), 32, 32, "letterbox")
    >>> columns[[0, 345]].tolist(), rows[[0, 259]].tolist()
    ([0, 31], [4, 27])
    """
    cells_x, cells_y = width, height
    pixels_x, pixels_y = sensor
    # The sensor is the wider of the two where its width is what limits a common scale.
    wider = sensor.width * height > sensor.height * width
    if resize_mode == "letterbox" and wider:
        cells_y = max(1, _rounded(sensor.height * width, sensor.width))
    elif resize_mode == "letterbox":
        cells_x = max(1, _rounded(sensor.width * height, sensor.height))
    elif resize_mode == "crop" and wider:
        pixels_x = max(1, _rounded(sensor.height * width, height))
    elif resize_mode == "crop":
        pixels_y = max(1, _rounded(sensor.width * height, width))
    return (
        _axis_map(sensor.width, pixels_x, width, cells_x),
        _axis_map(sensor.height, pixels_y, height, cells_y),
    )


def _rounded(numerator: int, denominator: int) -> int:
    return (2 * numerator + denominator) // (2 * denominator)


def _axis_map(sensor_pixels: int, pixels: int, grid_cells: int, cells: int) -> NDArray[np.int64]:
    """The middle `pixels` of a sensor axis onto the middle `cells` of a grid axis."""
    pixel = np.arange(sensor_pixels, dtype=np.int64) - (sensor_pixels - pixels) // 2
    cell = (2 * pixel + 1) * cells // (2 * pixels) + (grid_cells - cells) // 2
    return np.where((pixel >= 0) & (pixel < pixels), cell, CROPPED_AWAY)


def _for_any_coordinate(axis: NDArray[np.int64]) -> NDArray[np.int64]:
    """The map of an axis, extended to all 16-bit coordinates."""
    table = np.full(1 << 16, OUTSIDE, np.int64)
    table[: len(axis)] = axis
    return table


class Binner:
    """Turns a stream of events into bins; each is yielded as soon as no event can change it.

    Bin k is `[origin + k * bin_us, origin + (k + 1) * bin_us)`. What happens to an event depends
    only on the events before it. With `now` the latest time seen:

    - off the sensor: rejected as `out_of_range`; a time beyond +-2**60 us: rejected as `bad_time`.
      Neither moves time.
    - earlier than `now - reset_gap_us`: time has jumped back. The open bins close; the next bin has
      the next index and begins at this event.
    - else earlier than `now - reorder_window_us`, than the start of the stream or of its part since
      the last jump, or than the time given to `advance`: rejected as `late`, wherever its bin is.
    - later than `now + reset_gap_us`: time has jumped forward. The open bins close, those in
      between are left out, and binning goes on in the bin that holds the event.
    - outside the part of the sensor that `resize_mode="crop"` keeps: rejected as `cropped`, but
      time moves.
    - of a pixel that was found hot before (`hot_pixels="mask"`): rejected as `hot_pixel`, but time
      moves; see `PixelFilters` for when hot pixels are looked for.
    - within `refractory_us` of the latest accepted event of its pixel: rejected as `refractory`,
      but time moves. A jump back in time forgets the latest events.
    - else it is counted in its bin. A bin closes once `now - reorder_window_us` reaches its end.

    Parameters
    ----------
    sensor
        Width and height of the sensor in pixels.
    bin_us
        Length of a bin.
    height, width
        Rows and columns of the grid.
    resize_mode
        How the sensor is laid on the grid, see `pixel_to_cell_map`.
    representation
        "count", or "binary" for 0 and 1.
    reorder_window_us
        How far out of order an event may come and still be counted. Bins close that much later.
    reset_gap_us
        At least bin_us + reorder_window_us; a longer step in time is a jump.
    origin_us
        Where bin 0 begins; None for the time of the first event on the sensor.
    hot_pixels
        "mask" rejects the events of hot pixels from the moment they are found, "keep" does not.
    refractory_us
        How long after an accepted event further ones of its pixel are rejected; 0 for not at all.

    Raises
    ------
    UsageError
        Where a setting makes no sense, or (while pushing) where the open bins hold more than 2**31
        - 1 events.

    Notes
    -----
    An iterator that `push`, `advance` or `flush` returned must be exhausted before the next call;
    else that call raises RuntimeError, because events of the earlier one would be lost. The events
    must not change meanwhile.

    Examples
    --------
    >>> from streamstop.events.packet import make_events
    >>> binner = Binner(SensorSize(4, 4), bin_us=10, height=2, width=2)
    >>> bins = list(binner.push(make_events([5, 9, 35], [0, 3, 0], [0, 3, 0], [1, 0, 1])))
    >>> [(b.index, b.start_us, b.events) for b in bins]
    [(0, 5, 2), (1, 15, 0), (2, 25, 0)]
    >>> bins[0].counts.tolist()
    [[[0, 0], [0, 1]], [[1, 0], [0, 0]]]
    >>> binner.binned, binner.pending
    (2, 1)
    """

    def __init__(
        self,
        sensor: SensorSize,
        *,
        bin_us: int = 10_000,
        height: int = 32,
        width: int = 32,
        resize_mode: ResizeMode = "letterbox",
        representation: Representation = "count",
        reorder_window_us: int = 0,
        reset_gap_us: int = 1_000_000,
        origin_us: int | None = None,
        hot_pixels: HotPixelMode = "keep",
        refractory_us: int = 0,
    ) -> None:
        _check_settings(
            sensor,
            bin_us,
            height,
            width,
            resize_mode,
            representation,
            reorder_window_us,
            reset_gap_us,
            origin_us,
        )
        self.sensor = sensor
        self.bin_us, self.reorder_window_us, self.reset_gap_us = (
            bin_us,
            reorder_window_us,
            reset_gap_us,
        )
        self.origin_us: int | None = None
        self.binned = 0
        self.jumps = 0
        self.first_jumps: list[TimeJump] = []

        columns, rows = pixel_to_cell_map(sensor, height, width, resize_mode)
        self._columns = _for_any_coordinate(columns)
        self._rows = _for_any_coordinate(np.where(rows < 0, CROPPED_AWAY, rows * width))
        self._plane = height * width
        self._binary = representation == "binary"
        # Times from the oldest open bin's start to reorder_window_us past its end leave it open.
        slots = 1 - (-reorder_window_us // bin_us)
        self._grids = np.zeros((slots, 2, height, width), np.int32)
        self._counts = self._grids.reshape(slots, -1)
        self._filled = np.zeros(slots, np.int64)
        self._head = 0
        self._tally = np.zeros(6, np.int64)
        self._index = 0
        self._reset = False
        self._busy = False
        self._received = 0
        self._in_hand = 0
        self._filters = PixelFilters(sensor, hot_pixels, refractory_us)
        self._loop = compiled_loop(self._filters.used)
        # Before the first event: a clock that any time is later than.
        self._start = self._last = -TIME_LIMIT_US - 1
        self._clock = np.array([-TIME_LIMIT_US - 1, -TIME_LIMIT_US], np.int64)
        if origin_us is not None:
            self._begin(origin_us)

    @property
    def pending(self) -> int:
        """Events accepted by `push` that are in no finished bin yet, and not rejected."""
        return int(self._filled.sum()) + self._in_hand

    @property
    def rejected(self) -> dict[str, int]:
        """Rejected events by cause."""
        tally = self._tally.tolist()
        return {
            "late": tally[LATE],
            "out_of_range": tally[OUT_OF_RANGE],
            "cropped": tally[CROPPED],
            "bad_time": tally[BAD_TIME],
            "hot_pixel": tally[HOT_PIXEL],
            "refractory": tally[REFRACTORY],
        }

    @property
    def masked_pixels(self) -> tuple[MaskedPixel, ...]:
        """The pixels found hot so far, in the order in which they were masked."""
        return tuple(self._filters.masked)

    def mask(self, pixels: Iterable[MaskedPixel]) -> None:
        """Reject the events of these pixels from now on, as `hot_pixel`.

        For a stream of a sensor whose hot pixels another binner has found; without
        `hot_pixels="mask"` nothing is masked.
        """
        self._filters.mask(pixels)

    def push(self, events: Events) -> Iterator[Bin]:
        """Add events, in their order of arrival; yield the bins that they close.

        Parameters
        ----------
        events
            (n,) array of EVENT_DTYPE, any n.

        Raises
        ------
        TypeError
            Where `events` is of another dtype or shape.
        """
        if events.dtype != EVENT_DTYPE or events.ndim != 1:
            raise TypeError(
                f"push takes a one-dimensional array of EVENT_DTYPE, "
                f"not {events.dtype} of shape {events.shape}"
            )
        if self.pending + len(events) > MAX_OPEN_EVENTS:
            raise UsageError(
                f"the open bins would hold more than {MAX_OPEN_EVENTS} events after event "
                f"{self._received}; nothing of this packet was binned. "
                f"Use smaller packets, bin_us or reorder_window_us"
            )
        self._enter()
        self._received += len(events)
        self._in_hand = len(events)
        words = np.require(events, requirements=["C", "A"]).view(np.int64).reshape(-1, 2)
        return self._bin(words)

    def advance(self, until_us: int) -> Iterator[Bin]:
        """Advance time to `until_us`: yield the bins that end by then, with or without events.

        The caller guarantees that no later event is earlier; such an event is rejected as late. As
        with events, more than `reset_gap_us` at once is a jump. A time that has passed already, one
        beyond +-2**60 us, or any time before the origin is known, has no effect.
        """
        self._enter()
        return self._advance(until_us)

    def flush(self) -> Iterator[Bin]:
        """End the stream: yield the open bins up to the latest time seen.

        The last one is whole in length though time has not come to its end. One that neither time
        nor an event has entered is not a bin yet. Binning can go on after it.
        """
        self._enter()
        return self._flush()

    def _enter(self) -> None:
        if self._busy:
            raise RuntimeError(
                f"the bins of the call before were not all taken ({self._in_hand} events in hand); "
                f"exhaust its iterator first"
            )
        self._busy = True

    def _bin(self, words: NDArray[np.int64]) -> Iterator[Bin]:
        i, n, filters = 0, len(words), self._filters
        while True:
            last = filters.last(self._last, int(self._clock[1]))
            i = self._loop(
                words, i, self._columns, self._rows, self._plane, self._counts, self._filled,
                self._head, self._clock, self._start, last, self.bin_us,
                self.reorder_window_us, self.reset_gap_us, self._tally,
                filters.pixels, filters.sensor.width, filters.refractory_us,
            )  # fmt: skip
            self._in_hand = n - i
            if i == n:
                break
            t = int(words[i, 0])
            if not filters.look(t, int(self._clock[1])):
                yield from self._make_way(t)
        self._busy = False

    def _make_way(self, t: int) -> Iterator[Bin]:
        """Close bins until the event at `t`, where the loop stopped, can be counted."""
        now, floor = self._clock.tolist()
        if self.origin_us is None:
            self._begin(t)
        elif abs(t - now) > self.reset_gap_us:
            yield from self._jump(t, t - self.reorder_window_us)
        else:
            yield from self._pass(t, max(floor, t - self.reorder_window_us))

    def _advance(self, until_us: int) -> Iterator[Bin]:
        now, floor = self._clock.tolist()
        if self.origin_us is not None and floor < until_us <= TIME_LIMIT_US:
            if until_us - now > self.reset_gap_us:
                yield from self._jump(until_us, until_us)
            else:
                yield from self._pass(max(now, until_us), until_us)
        self._busy = False

    def _flush(self) -> Iterator[Bin]:
        if self.origin_us is not None:
            yield from self._close_open()
            # What was handed over is closed for good, though its end has not been seen.
            now, floor = self._clock.tolist()
            self._clock[:] = max(now, self._start), max(floor, self._start)
        self._busy = False

    def _begin(self, origin_us: int) -> None:
        self.origin_us = origin_us
        self._open_at(origin_us)
        self._clock[:] = origin_us

    def _pass(self, now: int, floor: int) -> Iterator[Bin]:
        self._clock[:] = now, floor
        while self._start + self.bin_us <= floor:
            yield self._close()

    def _jump(self, to_us: int, floor: int) -> Iterator[Bin]:
        now = int(self._clock[0])
        self.jumps += 1
        if len(self.first_jumps) < MAX_DESCRIBED_JUMPS:
            self.first_jumps.append(TimeJump(self._received - self._in_hand, now, to_us))
        yield from self._close_open()
        if to_us > now:
            skipped = (to_us - self._start) // self.bin_us
            self._index += skipped
            self._open_at(self._start + skipped * self.bin_us)
        else:
            self._open_at(to_us)
            self._filters.jumped_back(now, to_us)
        self._clock[:] = to_us, max(floor, self._start)
        self._reset = True

    def _close_open(self) -> Iterator[Bin]:
        """Close every bin that time or an event has entered."""
        now = int(self._clock[0])
        while self._start < now or self._filled[self._head]:
            yield self._close()

    def _close(self) -> Bin:
        head = self._head
        grid = self._grids[head]
        counts = np.minimum(grid, 1) if self._binary else grid.copy()
        events, clock_us = int(self._filled[head]), self._start
        grid.fill(0)
        self._filled[head] = 0
        self._head = (head + 1) % len(self._filled)
        self._open_at(self._start + self.bin_us)
        assert self.origin_us is not None
        start_us = self.origin_us + self._index * self.bin_us
        end_us = start_us + self.bin_us
        done = Bin(self._index, start_us, end_us, counts, events, self._reset, clock_us)
        self.binned += events
        self._index += 1
        self._reset = False
        return done

    def _open_at(self, start: int) -> None:
        self._start = start
        self._last = min(start + self.bin_us + self.reorder_window_us - 1, TIME_LIMIT_US)


def _check_settings(
    sensor: SensorSize,
    bin_us: int,
    height: int,
    width: int,
    resize_mode: str,
    representation: str,
    reorder_window_us: int,
    reset_gap_us: int,
    origin_us: int | None,
) -> None:
    sizes: dict[str, Any] = {
        "sensor width": sensor.width,
        "sensor height": sensor.height,
        "bin_us": bin_us,
        "height": height,
        "width": width,
    }
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"{name} must be at least 1, not {size}")
    if max(sensor) > 1 << 16:
        raise UsageError(f"a sensor of {sensor} has pixels that 16-bit coordinates cannot name")
    if resize_mode not in get_args(ResizeMode):
        raise UsageError(
            f"resize_mode must be one of {', '.join(get_args(ResizeMode))}, not {resize_mode!r}"
        )
    if representation not in get_args(Representation):
        raise UsageError(
            f"representation must be one of {', '.join(get_args(Representation))}, not "
            f"{representation!r}"
        )
    if reorder_window_us < 0:
        raise UsageError(f"reorder_window_us must not be negative, not {reorder_window_us}")
    if not bin_us + reorder_window_us <= reset_gap_us <= TIME_LIMIT_US:
        raise UsageError(
            "reset_gap_us must be at least bin_us + reorder_window_us "
            f"({bin_us + reorder_window_us}) and at most "
            f"2**60, not {reset_gap_us}: a jump in time is longer than what is binned or sorted in"
        )
    if origin_us is not None and abs(origin_us) > TIME_LIMIT_US:
        raise UsageError(f"origin_us must lie within +-2**60 us, not {origin_us}")
