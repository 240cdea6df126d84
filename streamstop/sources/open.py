"""Opens any source from its URI: `open_source`.

A source is `for packet in source:` and a context manager. It has the sensor's size, whether it is
live, whether its data are simulated, where its bins begin and, if there are any, its labels. The
table in `streamstop.formats.detect` lists the file formats.
"""

from __future__ import annotations

import difflib
import re
import sys
from pathlib import Path

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import SensorSize
from streamstop.formats.base import Recording
from streamstop.formats.byte_reader import STDIN
from streamstop.sources.base import Source
from streamstop.sources.live.address import SCHEMES
from streamstop.sources.live.registry import CAMERAS, is_live, open_live
from streamstop.sources.ordering import Order
from streamstop.sources.uri import uri_parts as uri_parts

TONIC, AESTREAM = "tonic:", "aestream:"
"""Begin the name of a data set that tonic reads, and of a file that aestream reads."""

SINGLE_FILE_OPTIONS = ("start_us", "stop_us", "format")
"""Options that a folder does not take."""


def open_source(
    uri: str,
    *,
    labels: str | None = None,
    sensor: SensorSize | None = None,
    strict: bool = False,
    seed: int = 0,
    length_us: int = 0,
    order: str | Order = "shuffled",
    limit: int = 0,
    align_us: int = 10_000,
    seconds: float = 0.0,
    max_latency_ms: int = 0,
) -> Source:
    """Open a camera, a socket, a file or a folder of labelled recordings.

    Parameters
    ----------
    uri
        A camera's name or a socket (see `streamstop.sources.live.registry`), `tonic:NAME` or
        `aestream:PATH` for what these libraries read, or a path, with
        options of the format after a `?`: `rec.bin?sensor=34x34`, `rec.csv?columns=txyp`. Any
        single file takes `start_us` and `stop_us`, a range of its time, counted from its first
        event with a plus sign in front, and `format`, where content and name do not tell it.
        "-" is standard input, which takes the same. A path that is a camera's name is written
        `./davis346`. Options of a folder go to each recording whose format takes them;
        `label_unit`, `label_columns` and `label_outside` to its label files; `class` (folder,
        above) says which folder's name is a recording's class.
    labels
        Path of a label file, for a single file, perhaps with options: `labels.csv?unit=s`,
        `?columns=start,end,class`, `?outside=drop`.
    sensor
        Size in pixels, where the file does not contain it; `?sensor=` does the same.
    strict
        Stop at the first damage.
    seed, length_us, order, limit
        How labelled recordings become segments; see `streamstop.sources.folder.FolderSource`
        and `streamstop.sources.file.FileSource`.
    align_us
        The width of a bin, to which segments of a folder are aligned, and the interval at which
        the clock of a live source advances time.
    seconds
        End a live source after this long; 0: never.
    max_latency_ms
        Drop events of a live source that have waited longer; 0: none, while there is room.

    Returns
    -------
    source : Source
        To be used in a `with` statement.

    Raises
    ------
    SourceError
        If it cannot be opened: missing, no permission, empty, of unknown format, no camera.
    UsageError
        If the options do not fit it.
    DamageError
        If it is damaged and `strict`; for a single file perhaps only while it is read.
    """
    if is_live(uri):
        return open_live(
            uri,
            sensor=sensor,
            labels=labels,
            length_us=length_us,
            limit=limit,
            strict=strict,
            seconds=seconds,
            tick_us=align_us,
            max_latency_ms=max_latency_ms,
        )
    path, options = uri_parts(uri)
    if "sensor" in options:
        sensor = sensor_size(options.pop("sensor"))
    from streamstop.sources.named_datasets import parse_dataset_uri

    if path.startswith(TONIC):
        return _open_tonic(
            uri, path, options, labels, length_us, order, limit, seed, align_us, strict, sensor
        )
    selection = parse_dataset_uri(path, options)
    if selection is not None or kind_of(path) == "folder":
        from streamstop.sources.folder import FolderSource
        from streamstop.sources.label_files import pop_label_options

        label_options = pop_label_options(options, uri)
        alone = [f"?{key}=" for key in SINGLE_FILE_OPTIONS if key in options]
        if labels is not None or alone:
            extra = "labels" if labels is not None else alone[0]
            raise UsageError(f"{extra} goes with a single file, and this is a folder: {path}")
        return FolderSource(
            str(selection.root) if selection else path,
            length_us=length_us,
            order=order,
            limit=limit,
            seed=seed,
            align_us=align_us,
            strict=strict,
            sensor=sensor,
            selection=selection,
            options=options,
            label_options=label_options,
        )
    if stated := [key for key in options if key.startswith("label_") or key == "class"]:
        raise UsageError(
            f"?{stated[0]}= goes with a folder; for one recording give --labels FILE, with its own "
            f"options, as in labels.csv?unit=s: {uri}"
        )
    from streamstop.sources.file import FileSource

    return FileSource(
        uri,
        open_file(path, options, sensor),
        labels=labels,
        length_us=length_us,
        limit=limit,
        strict=strict,
        sensor=sensor,
    )


def _open_tonic(
    uri: str,
    path: str,
    options: dict[str, str],
    labels: str | None,
    length_us: int,
    order: str | Order,
    limit: int,
    seed: int,
    align_us: int,
    strict: bool,
    sensor: SensorSize | None,
) -> Source:
    """A data set of tonic's as a folder of labelled recordings."""
    from streamstop.sources.folder import FolderSource
    from streamstop.sources.tonic_dataset import list_samples, parse_tonic_uri

    selection = parse_tonic_uri(path, options)
    if labels is not None or options or sensor is not None:
        extra = "labels" if labels is not None else f"?{next(iter(options), 'sensor')}="
        raise UsageError(f"a data set of tonic's does not take {extra}: {uri}")
    return FolderSource(
        path,
        length_us=length_us,
        order=order,
        limit=limit,
        seed=seed,
        align_us=align_us,
        strict=strict,
        listing=list_samples(selection),
    )


def open_file(path: str, options: dict[str, str], sensor: SensorSize | None = None) -> Recording:
    """The recording in a file, or the part of it that `start_us` and `stop_us` select.

    Parameters
    ----------
    path, options
        As from `uri_parts`.
    sensor
        Size in pixels that the user gave, if any.

    Raises
    ------
    SourceError, UsageError
        As `streamstop.formats.detect.open_recording`.
    """
    from streamstop.formats.detect import open_recording
    from streamstop.formats.time_range import TimeRange

    options = dict(options)
    start, stop = (options.pop(name, "") for name in ("start_us", "stop_us"))
    recording: Recording
    if path.startswith(AESTREAM):
        from streamstop.sources.aestream_file import open_aestream

        recording = open_aestream(path, options, sensor)
    else:
        recording = open_recording(path, options, sensor)
    return TimeRange(recording, start, stop) if start or stop else recording


def sensor_size(text: str) -> SensorSize:
    """The size in a text like 346x260; UsageError for any other text."""
    size = re.fullmatch(r"([1-9]\d{0,4})x([1-9]\d{0,4})", text)
    if size is None:
        raise UsageError(f"a sensor's size is written like 346x260, not {text!r}")
    return SensorSize(int(size[1]), int(size[2]))


def kind_of(path: str) -> str:
    """Whether a path is a "file" or a "folder"; a helpful error for anything else."""
    if path == STDIN:
        if sys.stdin is None or sys.stdin.isatty():
            raise SourceError(
                "standard input is a terminal; put a recording in, as in `zstdcat rec.zst | "
                "streamstop run --source -`: -"
            )
        return "file"
    if path.startswith(AESTREAM):
        return "file"
    if path.startswith(TONIC):
        return "folder"
    if re.match(r"[a-z][a-z0-9+.-]+:", path) and not Path(path).exists():
        sockets = ", ".join(f"{one}://" for one in SCHEMES)
        raise SourceError(
            f"unknown kind of source {path.partition(':')[0]!r}; supported "
            f"are files, folders of recordings, {sockets} and the cameras {', '.join(CAMERAS)}: "
            f"{path}"
        )
    try:
        if Path(path).is_dir():
            return "folder"
        if Path(path).is_file():
            return "file"
        if Path(path).exists():
            raise SourceError(f"neither a file nor a folder: {path}")
        folder = Path(path).parent
        names = [one.name for one in folder.iterdir()] if folder.is_dir() else []
    except OSError as error:
        raise SourceError(f"cannot be opened: {error.strerror}: {path}") from error
    near = difflib.get_close_matches(Path(path).name, names, n=1)
    meant = [str(folder / name) for name in near] or difflib.get_close_matches(path, CAMERAS, n=1)
    raise SourceError(
        f"there is no such file or folder{f'; did you mean {meant[0]}?' if meant else ''}: {path}"
    )
