"""Detects a file's format, from its content first and from its name where content cannot tell.

The table `FORMATS` lists what can be read and the module that reads it; a module is imported when
a file needs it. Formats that are known but not supported are named in the error message.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from importlib import import_module
from typing import NamedTuple

from streamstop.errors import SourceError, UsageError
from streamstop.events.labels import is_label_csv
from streamstop.events.packet import SensorSize
from streamstop.formats.base import Recording, read_head, read_start
from streamstop.formats.byte_reader import inner_suffix
from streamstop.formats.columns import find_columns

HEAD_BYTES = 1 << 12
_MAGIC_BYTES = 16

_TEXT = (".csv", ".txt")
_TABLE = ("columns", "unit", "on")
"""Options of every table; see `streamstop.formats.table_layout.TableOptions`."""

_Test = Callable[[bytes, str], bool]


class FileFormat(NamedTuple):
    """One file format.

    Attributes
    ----------
    name
        As users know it.
    opens
        "module:class" in `streamstop.formats`; "" where this version does not read it.
    test
        Whether a file with these first bytes and this suffix has the format.
    options
        Keys allowed after `?` in the URI, besides COMMON_OPTIONS.
    takes_sensor
        Whether its reader takes the size that the user gave as evidence of the layout.
    advice
        What to do with a file that is not read.
    """

    name: str
    opens: str
    test: _Test
    options: tuple[str, ...] = ()
    takes_sensor: bool = False
    advice: str = ""


def _begins(*magic: bytes) -> _Test:
    return lambda head, _: head.startswith(magic)


def _is_mat5(head: bytes, suffix: str) -> bool:
    """MATLAB's version 5: 116 bytes of text, the version, and which end comes first."""
    if head.startswith(b"MATLAB 5.0 MAT-file"):
        return True
    return suffix == ".mat" and head[124:128] in (b"\0\1IM", b"\1\0MI")


def _named(*suffixes: str) -> _Test:
    return lambda _, suffix: suffix in suffixes


def _percent_line(pattern: bytes) -> _Test:
    """Prophesee's headers: lines that start with %, one of which matches."""
    line = re.compile(rb"(?:^|\n)% *(?:" + pattern + rb")", re.IGNORECASE)
    return lambda head, _: head.startswith(b"%") and line.search(head) is not None


def _is_table(head: bytes) -> bool:
    """Whether the first line that is no comment may hold events: a .txt may be anything."""
    lines = [line for line in head.splitlines() if not line.startswith((b"#", b"%"))]
    if len(lines) > 1 and re.fullmatch(rb"\s*\d+[ \t,;]+\d+\s*", lines[0]):
        del lines[0]  # the sensor's width and height
    cells = re.split(rb"[,;\s]+", (lines or [b""])[0].strip())
    numbers = [re.fullmatch(rb"[-+]?[\d.]+(e[-+]?\d+)?|true|false", one.lower()) for one in cells]
    named = find_columns([one.decode(errors="replace").partition("@")[0] for one in cells])
    return len(cells) >= 4 and (all(numbers) or named is not None)


def _is_text(head: bytes) -> bool:
    """Whether the first line is text; damage in later lines costs only those lines."""
    line = head.removeprefix(b"\xef\xbb\xbf").split(b"\n", 1)[0]
    return bool(line) and not re.search(rb"[\x00-\x08\x0e-\x1f]", line)


FORMATS = (
    FileFormat("AEDAT4", "aedat.aedat4:Aedat4Recording", _begins(b"#!AER-DAT4.0"), ("stream",)),
    FileFormat(
        "AEDAT 1.0 or 2.0",
        "aedat.aedat2:AedatRecording",
        _begins(b"#!AER-DAT1.0", b"#!AER-DAT2.0"),
        ("chip",),
        takes_sensor=True,
    ),
    FileFormat("AEDAT 3.1", "aedat.aedat3:Aedat3Recording", _begins(b"#!AER-DAT3.1")),
    FileFormat(
        "AEDAT of another version",
        "",
        _begins(b"#!AER-DAT"),
        advice="save it as AEDAT4 with DV, or as AEDAT 2.0 with jAER",
    ),
    FileFormat("NumPy .npy", "plain.npy:ArrayRecording", _begins(b"\x93NUMPY"), _TABLE),
    FileFormat(
        "NumPy .npz",
        "plain.npy:ArrayRecording",
        lambda head, suffix: head.startswith(b"PK\x03\x04") and suffix == ".npz",
        _TABLE,
    ),
    FileFormat(
        "Prophesee EVT3", "prophesee.evt:EvtRecording", _percent_line(rb"evt 3|format EVT3")
    ),
    FileFormat(
        "Prophesee EVT2.1", "prophesee.evt:EvtRecording", _percent_line(rb"evt 2\.1|format EVT21")
    ),
    FileFormat(
        "Prophesee EVT2", "prophesee.evt:EvtRecording", _percent_line(rb"evt 2|format EVT2")
    ),
    FileFormat(
        "Prophesee DAT",
        "prophesee.dat:DatRecording",
        _percent_line(rb"Data file containing|Version"),
        ("version",),
    ),
    FileFormat(
        "Event Stream .es", "event_stream.reader:EventStreamRecording", _begins(b"Event Stream")
    ),
    FileFormat(
        "HDF5", "hdf5.reader:Hdf5Recording", _begins(b"\x89HDF\r\n\x1a\n"), (*_TABLE, "group")
    ),
    FileFormat("MATLAB .mat", "matlab.reader:MatRecording", _is_mat5, (*_TABLE, "group", "first")),
    FileFormat(
        "MATLAB 7.3 .mat",
        "hdf5.reader:Hdf5Recording",
        _begins(b"MATLAB 7.3 MAT-file"),
        (*_TABLE, "group"),
    ),
    FileFormat("ROS 1 bag", "ros.reader:RosRecording", _begins(b"#ROSBAG V2.0\n"), ("topic",)),
    FileFormat(
        "ROS 1 bag of another version", "", _begins(b"#ROSBAG"), advice="version 2.0 is read"
    ),
    FileFormat("MCAP", "ros.reader:RosRecording", _begins(b"\x89MCAP0\r\n"), ("topic",)),
    FileFormat(
        "ROS 2 bag .db3", "ros.reader:RosRecording", _begins(b"SQLite format 3\0"), ("topic",)
    ),
    FileFormat("N-MNIST .bin", "plain.nmnist:BinRecording", lambda _, suffix: suffix == ".bin"),
    FileFormat(
        "events as .csv",
        "plain.text:CsvRecording",
        lambda head, suffix: (
            suffix in _TEXT
            and _is_text(head)
            and not is_label_csv(head)
            and (suffix != ".txt" or _is_table(head))
        ),
        _TABLE,
    ),
)


_TO_NPZ = (
    "loading one runs what it holds, so it is never done; load it in a Python of your own, if you "
    "trust it, and save its columns with numpy.savez('events.npz', t=t, x=x, y=y, p=p)"
)
_TO_EVENTS = "it holds frames; v2e (github.com/SensorsINI/v2e) makes events of a video"

UNREAD = (
    FileFormat("a PyTorch file", "", _named(".pt", ".pth", ".ckpt"), advice=_TO_NPZ),
    FileFormat(
        "a pickle",
        "",
        lambda head, suffix: (
            suffix in (".pkl", ".pickle", ".p") or head[:3] in (b"\x80\4\x95", b"\x80\5\x95")
        ),
        advice=_TO_NPZ,
    ),
    FileFormat(
        "a video",
        "",
        lambda head, _: (
            head[4:8] == b"ftyp"
            or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")
            or head.startswith(b"\x1aE\xdf\xa3")
        ),
        advice=_TO_EVENTS,
    ),
    FileFormat(
        "an archive",
        "",
        lambda head, suffix: (
            head.startswith((b"PK\3\4", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\7"))
            or head[257:262] == b"ustar"
            or suffix == ".tar"
        ),
        advice="unpack it first, and give a recording or the folder",
    ),
    FileFormat(
        "MATLAB .mat of version 4",
        "",
        _named(".mat"),
        advice="save it again in MATLAB with save(..., '-v7')",
    ),
    FileFormat(
        "the metadata of a ROS 2 bag",
        "",
        lambda head, suffix: suffix == ".yaml" and b"rosbag2_bagfile_information" in head,
        advice="give the .mcap or .db3 beside it",
    ),
    FileFormat(
        "TFRecord",
        "",
        _named(".tfrecord", ".tfrecords"),
        advice="save its columns with numpy.savez('events.npz', t=t, x=x, y=y, p=p)",
    ),
    FileFormat(
        "an LMDB database",
        "",
        lambda head, _: head[16:20] == b"\xde\xc0\xef\xbe",
        advice="save its columns with numpy.savez('events.npz', t=t, x=x, y=y, p=p)",
    ),
)
"""Files that people have and that are not read, named in the error. Consulted after FORMATS."""

SHORT = {
    "aedat4": "AEDAT4",
    "aedat1": "AEDAT 1.0 or 2.0",
    "aedat2": "AEDAT 1.0 or 2.0",
    "aedat3": "AEDAT 3.1",
    "npy": "NumPy .npy",
    "npz": "NumPy .npz",
    "evt2": "Prophesee EVT2",
    "evt21": "Prophesee EVT2.1",
    "evt2.1": "Prophesee EVT2.1",
    "evt3": "Prophesee EVT3",
    "dat": "Prophesee DAT",
    "es": "Event Stream .es",
    "hdf5": "HDF5",
    "h5": "HDF5",
    "mat": "MATLAB .mat",
    "mat73": "MATLAB 7.3 .mat",
    "bag": "ROS 1 bag",
    "mcap": "MCAP",
    "db3": "ROS 2 bag .db3",
    "bin": "N-MNIST .bin",
    "nmnist": "N-MNIST .bin",
    "csv": "events as .csv",
    "txt": "events as .csv",
}
"""Values of `?format=`, each with its name in `FORMATS`."""

COMMON_OPTIONS = ("sensor", "format", "start_us", "stop_us")
"""Keys allowed after `?` in the URI of any file."""


def _stated(format: str, path: str) -> FileFormat:
    """The format of a short name.

    Raises
    ------
    UsageError
        If there is no format of that name.
    """
    name = SHORT.get(format.lower())
    if name is None:
        near = difflib.get_close_matches(format.lower(), SHORT, n=1, cutoff=0.4)
        meant = f"; did you mean {near[0]}?" if near else ""
        known = ", ".join(SHORT)
        raise UsageError(f"unknown format {format!r}{meant} (known: {known}): {path}")
    return next(one for one in FORMATS if one.name == name)


def _tells(head: bytes) -> bool:
    """Whether the start of a pipe suffices: a magic number, or a complete header of % lines."""
    if head.startswith(b"%"):
        lines = re.match(rb"(?:%[^\n]*\n)*", head)
        return lines is not None and not b"%".startswith(head[lines.end() :][:1])
    return len(head) >= _MAGIC_BYTES and any(one.test(head, "") for one in FORMATS)


def detect_format(path: str, *, known: bool = False) -> FileFormat | None:
    """The format of a file, None where it is unknown.

    Parameters
    ----------
    path
        The file.
    known
        The caller knows the format, so that from a pipe no more is waited for than the checks
        for errors need.

    Raises
    ------
    SourceError
        If the file cannot be opened, is empty, or is a Git LFS pointer in place of the file.
    """
    head = read_head(path, HEAD_BYTES, lambda start: _tells(start) or (known and len(start) > 39))
    if not head:
        raise SourceError(f"the file is empty, 0 bytes: {path}")
    if head.startswith(b"version https://git-lfs.github.com/spec"):
        raise SourceError(
            "this is a Git LFS pointer, not the recording itself; fetch it with `git lfs pull` in "
            f"its repository: {path}"
        )
    suffix = inner_suffix(path)
    return next((one for one in FORMATS if one.test(head, suffix)), None)


def open_recording(
    path: str, options: Mapping[str, str] | None = None, sensor: SensorSize | None = None
) -> Recording:
    """Open the recording in a file.

    Parameters
    ----------
    path
        The file.
    options
        The format's own options, as text, and `format`, a short name that overrides the
        detection.
    sensor
        Size in pixels that the user gave. Only formats whose events have a layout that depends on
        it look at it; whether it fits is checked by what reads the recording.

    Raises
    ------
    SourceError
        If the file cannot be opened, its format is unknown or not supported, or an option does not
        belong to the format.
    UsageError
        If `format` names no format, or an option's value is not one that the format knows.
    """
    options = dict(options or {})
    stated = options.pop("format", "")
    known = detect_format(path, known=bool(stated))
    if stated:
        known = _stated(stated, path)
    if known is None:
        head, suffix = read_start(path, HEAD_BYTES), inner_suffix(path)
        known = next((one for one in UNREAD if one.test(head, suffix)), None)
    if known is None:
        if is_label_csv(head):
            raise SourceError(
                "this file holds labels, not events; give the recording, and this file with "
                f"--labels: {path}"
            )
        read = ", ".join(one.name for one in FORMATS if one.opens)
        raise SourceError(
            f"unknown format; supported are {read}; if it is one of these, give ?format= with one "
            f"of {', '.join(SHORT)}: {path}"
        )
    if not known.opens:
        what = f"recognised as {known.name}, which is not read"
        raise SourceError(f"{what}; {known.advice}: {path}" if known.advice else f"{what}: {path}")
    for key in options:
        if key not in known.options:
            takes = ", ".join((*COMMON_OPTIONS[:1], *known.options, *COMMON_OPTIONS[1:]))
            raise SourceError(f"{known.name} takes no option {key!r} (it takes {takes}): {path}")
    module, _, kind = known.opens.partition(":")
    opens = getattr(import_module(f"streamstop.formats.{module}"), kind)
    evidence = {"sensor": sensor} if known.takes_sensor else {}
    recording: Recording = opens(path, **options, **evidence)
    return recording
