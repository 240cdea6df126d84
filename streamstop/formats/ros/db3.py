"""Reads the messages of a ROS 2 bag's SQLite file, `.db3`, in the order of their numbers.

SQLite is Python's own. The file is opened for reading only.

Guarantees:

- Only the tables `topics` and `messages` are read: no view or virtual table is, so that nothing in
  the file runs. A message longer than MAX_CHUNK_BYTES is not loaded.
- Damage costs the messages from there on: pages of SQLite refer to each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from streamstop.formats.ros.containers import (
    MAX_CHANNELS,
    MAX_CHUNK_BYTES,
    Channel,
    Channels,
    Item,
    Lost,
    Message,
)

MAGIC = b"SQLite format 3\0"
FAULTS = (sqlite3.Error, OverflowError, UnicodeDecodeError)
"""Errors of sqlite3 for files that cannot be read."""

_STEPS = 1 << 16
_MAX_TURNS = 1 << 8
"""A query may take _STEPS * _MAX_TURNS instructions until its next row: more than any table."""


class NoBagError(Exception):
    """The database has no tables of a ROS 2 bag."""


class _Database:
    """The file, open for reading, with bounds on what a query may take."""

    def __init__(self, path: str) -> None:
        address = f"file:{quote(str(Path(path).absolute()))}?mode=ro&immutable=1"
        self.connection = sqlite3.connect(address, uri=True, check_same_thread=False)
        self.turns = 0
        self.connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CHUNK_BYTES)
        self.connection.set_progress_handler(self._turn, _STEPS)
        self.connection.execute("PRAGMA trusted_schema = OFF")
        self.connection.execute("PRAGMA cell_size_check = ON")
        self.connection.execute("PRAGMA cache_size = -4096")

    def _turn(self) -> bool:
        self.turns += 1
        return self.turns > _MAX_TURNS

    def check(self) -> None:
        """Check that `topics` and `messages` are plain tables.

        Raises
        ------
        NoBagError
            If they are not.
        """
        query = "SELECT name, type, sql FROM sqlite_master WHERE name IN ('topics', 'messages')"
        found = self.connection.execute(query).fetchmany(8)
        for name, kind, sql in found:
            if kind != "table" or str(sql).split()[:2] != ["CREATE", "TABLE"]:
                raise NoBagError(f"its {str(name)!r} is not a plain table")
        if {name for name, *_ in found} != {"topics", "messages"}:
            raise NoBagError("it has no tables 'topics' and 'messages', as ROS 2 bags have")

    def close(self) -> None:
        """Close the file."""
        self.connection.close()


def channels_of(path: str) -> Channels:
    """The topics of a file.

    Raises
    ------
    NoBagError
        If it is a database of something else.
    sqlite3.Error, OverflowError, UnicodeDecodeError
        If it cannot be read.
    """
    with closing(_Database(path)) as database:
        database.check()
        query = "SELECT id, name, type, serialization_format FROM topics LIMIT ?"
        rows = database.connection.execute(query, (MAX_CHANNELS,)).fetchall()
        return {
            number: Channel(str(topic), str(kind), str(form))
            for number, topic, kind, form in rows
            if isinstance(number, int)
        }


def items(path: str, wanted: frozenset[int], last: int) -> Iterator[Item]:
    """The messages of some channels, those after the message of the number `last`."""
    at, size = last, Path(path).stat().st_size
    try:
        with closing(_Database(path)) as database:
            database.check()
            marks = ", ".join("?" * len(wanted))
            query = (
                "SELECT id, topic_id, CASE WHEN typeof(data) = 'blob' AND length(data) <= ? "
                f"THEN data END FROM messages WHERE id > ? AND topic_id IN ({marks}) ORDER BY id"
            )
            for number, channel, data in database.connection.execute(
                query, (MAX_CHUNK_BYTES, at, *sorted(wanted))
            ):
                database.turns = 0
                if not isinstance(number, int) or number <= at:
                    raise sqlite3.DatabaseError("messages are not in order")
                at = number
                if data is None:
                    yield Lost(at, 0, "a message that cannot be loaded", (at, 0))
                else:
                    yield Message(channel, memoryview(data), at, at, 0, (at, 0))
    except (*FAULTS, NoBagError, MemoryError) as error:
        yield Lost(at, 0, f"SQLite cannot read on after message {at}: {error}", (max(at, size), 0))
