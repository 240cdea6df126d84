"""Writes small bags with other libraries: rosbags (ROS 1, .db3), mcap."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest

TOPIC = "/dvs/events"
ARRAY = "dvs_msgs/msg/EventArray"
PACKET = "event_camera_msgs/msg/EventPacket"

Sent = tuple[str, str, bytes]
"""Topic, type and bytes of a message."""


def on(topic: str, kind: str, messages: Iterable[bytes]) -> list[Sent]:
    return [(topic, kind, one) for one in messages]


def with_imu(sent: Iterable[Sent]) -> list[Sent]:
    """Between any two messages one of another topic, as bags have."""
    return [two for one in sent for two in (one, ("/imu", "sensor_msgs/msg/Imu", b"i" * 80))]


def write_bag(
    path: Path, sent: Iterable[Sent], compression: str = "", chunk_bytes: int = 20_000
) -> Path:
    rosbag1 = pytest.importorskip("rosbags.rosbag1")
    path.unlink(missing_ok=True)
    writer = rosbag1.Writer(path)
    if compression:
        writer.set_compression(rosbag1.Writer.CompressionFormat[compression.upper()])
    writer.chunk_threshold = chunk_bytes
    connections = {}
    with writer:
        for i, (topic, kind, data) in enumerate(sent):
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, msgdef="#", md5sum="0" * 32)
            writer.write(connections[topic], 10**18 + i * 1000, data)
    return path


def write_mcap(
    path: Path,
    sent: Iterable[Sent],
    compression: str = "none",
    *,
    encoding: str = "cdr",
    chunked: bool = True,
    chunk_bytes: int = 20_000,
    crc: bool = True,
) -> Path:
    mcap = pytest.importorskip("mcap.writer")
    channels = {}
    with path.open("wb") as file:
        writer = mcap.Writer(
            file,
            chunk_size=chunk_bytes,
            compression=mcap.CompressionType[compression.upper()],
            use_chunking=chunked,
            enable_crcs=crc,
        )
        writer.start()
        for i, (topic, kind, data) in enumerate(sent):
            if topic not in channels:
                schema = writer.register_schema(kind, "ros2msg", b"#")
                channels[topic] = writer.register_channel(topic, encoding, schema)
            writer.add_message(channels[topic], i, data, i)
        writer.finish()
    return path


def write_db3(path: Path, sent: Iterable[Sent]) -> Path:
    """As rosbag2 writes it (its tables, of the columns that all versions have)."""
    path.unlink(missing_ok=True)
    topics: dict[str, int] = {}
    with sqlite3.connect(path) as file:
        file.execute(
            "CREATE TABLE topics(id INTEGER PRIMARY KEY,name TEXT NOT NULL,type TEXT NOT NULL,"
            "serialization_format TEXT NOT NULL,offered_qos_profiles TEXT NOT NULL)"
        )
        file.execute(
            "CREATE TABLE messages(id INTEGER PRIMARY KEY,topic_id INTEGER NOT NULL,"
            "timestamp INTEGER NOT NULL, data BLOB NOT NULL)"
        )
        file.execute("CREATE INDEX timestamp_idx ON messages (timestamp ASC)")
        for i, (topic, kind, data) in enumerate(sent):
            if topic not in topics:
                topics[topic] = len(topics) + 1
                row = (topics[topic], topic, kind, "cdr", "")
                file.execute("INSERT INTO topics VALUES (?, ?, ?, ?, ?)", row)
            file.execute(
                "INSERT INTO messages(topic_id, timestamp, data) VALUES (?, ?, ?)",
                (topics[topic], i, data),
            )
    file.close()
    return path
