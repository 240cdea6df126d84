"""Writes HDF5 in the layouts of DSEC and of Metavision; it needs h5py, the extra `hdf5`.

Guarantees:

- `streamstop.formats` reads back exactly the events that were written.
- The same events give the same bytes, however they are split into packets (with the same versions
  of the libraries).
- Bounded memory. The file appears under its name only when it is complete.

Does not:

- Sort events.
- Write Metavision's own compression (ECF), which its SDK expects; programs on h5py read the file.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamstop.errors import UsageError
from streamstop.events.packet import Events, SensorSize
from streamstop.formats._writing import iter_chunks, raise_on_outside, repacketize
from streamstop.formats.base import SIMULATED_SOURCE

CHUNK_EVENTS = 1 << 16
MAX_INDEX_MS = 1 << 27
"""Longest stretch of time that DSEC's index of milliseconds can cover, 37 hours."""

_PIECE = 1 << 16
_METAVISION_CHUNK = 1 << 14
_CD = np.dtype([("x", "<u2"), ("y", "<u2"), ("p", "<i2"), ("t", "<i8")], align=True)
_TRIGGER = np.dtype([("p", "<i2"), ("t", "<i8"), ("id", "<i2")], align=True)
_INDEX = np.dtype([("id", "<u8"), ("ts", "<i8")])


def write_dsec(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events as DSEC's HDF5 files hold them.

    Columns `events/x`, `y`, `p` and `t`, where t counts in us from `t_offset`, the time of the
    first event; and `ms_to_idx`, for each millisecond from there on the number of events before it.
    Attributes of the file hold `width`, `height` and, of simulated events, `source`. Compressed by
    Blosc with zstd, as DSEC is, where hdf5plugin is installed, else by gzip.

    Parameters
    ----------
    path
        File to write; it appears when complete and replaces an older one.
    packets
        An array of EVENT_DTYPE, shape (n,), or an iterable of such arrays.
    sensor
        Size in pixels.
    simulated
        Marks the events as made by no camera.

    Returns
    -------
    count : int
        Number of events written.

    Raises
    ------
    UsageError
        If h5py is missing, an event lies outside the sensor, or times span more than MAX_INDEX_MS.
        No file is left then.
    """

    def write(file: Any) -> int:
        columns = {
            name: _column(file, f"events/{name}", kind, CHUNK_EVENTS, **_compression())
            for name, kind in (("x", "<u2"), ("y", "<u2"), ("p", "|u1"), ("t", "<i8"))
        }
        index = _MillisecondIndex(_column(file, "ms_to_idx", "<u8", _PIECE, compression="gzip"))
        written, offset_us = 0, 0
        for events in repacketize(iter_chunks(packets), CHUNK_EVENTS):
            raise_on_outside(events, sensor, written)
            if not written:
                offset_us = int(events["t"][0])
            t = events["t"] - offset_us
            index.add(t)
            for name, column in columns.items():
                _append(column, t if name == "t" else events[name])
            written += len(events)
        index.close()
        file["t_offset"] = np.int64(offset_us)
        file.attrs["width"], file.attrs["height"] = sensor
        return written

    return _atomic_hdf5(path, write, simulated)


def write_metavision_hdf5(
    path: str | Path,
    packets: Events | Iterable[Events],
    sensor: SensorSize,
    *,
    simulated: bool = False,
) -> int:
    """Write events as a table `CD/events` of x, y, p and t, as Metavision does; see `write_dsec`.

    The attribute `geometry` holds the sensor. Compressed by gzip instead of Metavision's ECF. Its
    tables of triggers and of the index for seeking are there, and empty.
    """

    def write(file: Any) -> int:
        events_of = _column(file, "CD/events", _CD, _METAVISION_CHUNK, compression="gzip")
        for name, kind in (
            ("CD/indexes", _INDEX),
            ("EXT_TRIGGER/events", _TRIGGER),
            ("EXT_TRIGGER/indexes", _INDEX),
        ):
            _column(file, name, kind, _METAVISION_CHUNK)
        written = 0
        for events in repacketize(iter_chunks(packets), CHUNK_EVENTS):
            raise_on_outside(events, sensor, written)
            rows = np.zeros(len(events), _CD)
            for name in ("x", "y", "p", "t"):
                rows[name] = events[name]
            _append(events_of, rows)
            written += len(events)
        file.attrs["version"], file.attrs["geometry"] = "1.0", str(sensor)
        return written

    return _atomic_hdf5(path, write, simulated)


class _MillisecondIndex:
    """DSEC's `ms_to_idx`: for each millisecond the number of events before its beginning.

    Events out of order count by the latest time so far.
    """

    def __init__(self, column: Any) -> None:
        self._column = column
        self._events = self._next_ms = 0
        self._latest_us = 0

    def add(self, t: NDArray[np.int64]) -> None:
        """Index the next events, by their times after the first, shape (n,), n > 0, in us."""
        latest = np.maximum(np.maximum.accumulate(t), self._latest_us)
        self._latest_us = int(latest[-1])
        last_ms = self._latest_us // 1000
        if last_ms > MAX_INDEX_MS:
            raise UsageError(
                f"times span {last_ms // 3_600_000} hours, more than DSEC's index of milliseconds "
                "covers here; give --format metavision-hdf5; nothing was written"
            )
        for first in range(self._next_ms, last_ms + 1, _PIECE):
            begins_us = np.arange(first, min(first + _PIECE, last_ms + 1)) * 1000
            _append(self._column, np.searchsorted(latest, begins_us, "left") + self._events)
        self._next_ms = last_ms + 1
        self._events += len(t)

    def close(self) -> None:
        """Add the millisecond after the last event, at which every event has passed."""
        _append(self._column, np.array([self._events]))


def _atomic_hdf5(path: str | Path, write: Any, simulated: bool) -> int:
    try:
        import h5py
    except ImportError as error:
        raise UsageError(
            f"HDF5 needs h5py, which is not installed: pip install 'streamstop[hdf5]': {path}"
        ) from error
    path = Path(path)
    partial = path.with_name(path.name + ".partial")
    try:
        with h5py.File(partial, "w") as file:
            if simulated:
                file.attrs["source"] = SIMULATED_SOURCE
            written: int = write(file)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    return written


def _column(file: Any, name: str, kind: Any, chunk: int, **filters: Any) -> Any:
    """An empty dataset that grows."""
    if filters.get("compression") == "gzip":
        filters["shuffle"] = True
    return file.create_dataset(name, (0,), kind, maxshape=(None,), chunks=(chunk,), **filters)


def _append(column: Any, rows: NDArray[Any]) -> None:
    first = column.shape[0]
    column.resize(first + len(rows), axis=0)
    column[first:] = rows


def _compression() -> dict[str, Any]:
    try:
        import hdf5plugin
    except ImportError:
        return {"compression": "gzip"}
    return dict(hdf5plugin.Blosc(cname="zstd", clevel=5, shuffle=hdf5plugin.Blosc.SHUFFLE))
