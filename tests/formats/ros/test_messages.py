"""Messages of events, against bytes laid out by hand and against rosbags' own serialisation."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest
from helpers.event_files import random_events, same
from helpers.ros_messages import cdr_array, cdr_packet, ros1_array, ros1_packet

from streamstop.events.packet import SensorSize
from streamstop.formats.ros.messages import ARRAYS, PACKETS, MessageError, decode_message

EVENTS = random_events(700, width=640, height=480)


def taken(kind: str, serialisation: str, data: bytes) -> Any:
    content = decode_message(kind, serialisation, memoryview(data))
    parts = [content.take(i, min(i + 97, content.events)) for i in range(0, content.events, 97)]
    return np.concatenate([content.take(0, 0), *parts])


@pytest.mark.parametrize("n", [0, 1, 2, 3, 700])
@pytest.mark.parametrize("frame", [1, 0])
def test_arrays(n: int, frame: int) -> None:
    events = EVENTS[:n]
    assert same(taken(ARRAYS[0], "ros1", ros1_array(events)), events)
    assert same(taken(ARRAYS[1], "cdr", cdr_array(events)), events)
    assert same(taken(ARRAYS[1], "cdr", cdr_array(events, order=">")), events)
    assert same(taken(ARRAYS[1], "cdr", cdr_array(events) + bytes(3)), events)


def test_what_lies_below_a_microsecond_is_cut_off() -> None:
    assert same(taken(ARRAYS[0], "ros1", ros1_array(EVENTS, extra_ns=999)), EVENTS)
    assert same(taken(ARRAYS[0], "cdr", cdr_array(EVENTS, extra_ns=999)), EVENTS)


def test_the_sensor_is_width_and_height() -> None:
    found = decode_message(ARRAYS[0], "cdr", memoryview(cdr_array(EVENTS, 346, 260)))
    assert found.sensor == SensorSize(346, 260)
    found = decode_message(ARRAYS[0], "ros1", memoryview(ros1_array(EVENTS, 0, 260)))
    assert found.sensor is None


@pytest.mark.parametrize("base_ns", [0, 1_700_000_000_123_456_789])
def test_mono_counts_from_the_time_base(base_ns: int) -> None:
    """Bits: polarity, 15 of y, 16 of x, 32 of nanoseconds."""
    first = int(EVENTS["t"][0])
    rows = [
        (t - first) * 1000 | x << 32 | y << 48 | p << 63
        for t, x, y, p in zip(*(EVENTS[name].tolist() for name in "txyp"), strict=True)
    ]
    content = struct.pack(f"<{len(rows)}Q", *rows)
    expected = EVENTS.copy()
    expected["t"] += base_ns // 1000 - first
    for message, serialisation in (
        (ros1_packet(content, "mono", base_ns), "ros1"),
        (cdr_packet(content, "mono", base_ns), "cdr"),
    ):
        assert same(taken(PACKETS[0], serialisation, message), expected)


def test_libcaer_undoes_a_wrap_inside_a_packet() -> None:
    rows = [(2**31 - 2, 5, 6, 1), (2**31 - 1, 7, 8, 0), (0, 9, 10, 1), (4, 300, 200, 0)]
    words = b"".join(struct.pack("<II", x << 17 | y << 2 | p << 1 | 1, t) for t, x, y, p in rows)
    got = taken(PACKETS[0], "ros1", ros1_packet(words, "libcaer", 9_000_000_500))
    low = [2**31 - 2, 2**31 - 1, 2**31, 2**31 + 4]
    assert got["t"].tolist() == [9_000_000 + one for one in low]
    assert [tuple(one)[1:] for one in got.tolist()] == [one[1:] for one in rows]


@pytest.mark.parametrize("cut", [1, 12, 9000])
def test_a_message_of_another_length_is_refused(cut: int) -> None:
    for kind, serialisation, data in (
        (ARRAYS[0], "ros1", ros1_array(EVENTS)),
        (ARRAYS[0], "cdr", cdr_array(EVENTS)),
        (PACKETS[0], "ros1", ros1_packet(bytes(9600), "mono")),
        (PACKETS[0], "cdr", cdr_packet(bytes(9600), "mono")),
    ):
        with pytest.raises(MessageError):
            decode_message(kind, serialisation, memoryview(data)[:-cut])
        with pytest.raises(MessageError):
            decode_message(kind, serialisation, memoryview(data + bytes(13)))


@pytest.mark.parametrize("store", ["ROS1_NOETIC", "ROS2_HUMBLE"])
def test_rosbags_serialises_the_same(store: str) -> None:
    typesys = pytest.importorskip("rosbags.typesys")
    types = typesys.get_typestore(typesys.Stores[store])
    for text, name in (
        ("uint16 x\nuint16 y\ntime ts\nbool polarity\n", "dvs_msgs/msg/Event"),
        (
            "Header header\nuint32 height\nuint32 width\ndvs_msgs/Event[] events\n",
            "dvs_msgs/msg/EventArray",
        ),
        (
            "Header header\nuint32 height\nuint32 width\nuint64 seq\nuint64 time_base\n"
            "string encoding\nbool is_bigendian\nuint8[] events\n",
            "event_camera_msgs/msg/EventPacket",
        ),
    ):
        types.register(typesys.get_types_from_msg(text, name))
    made = types.types
    time = made["builtin_interfaces/msg/Time"]
    header = made["std_msgs/msg/Header"]
    number = {"seq": 1} if store.startswith("ROS1") else {}
    head = header(**number, stamp=time(sec=5, nanosec=6), frame_id="cam")
    event, array, packet = (
        made[f"{name}"]
        for name in (
            "dvs_msgs/msg/Event", "dvs_msgs/msg/EventArray", "event_camera_msgs/msg/EventPacket"
        )
    )  # fmt: skip
    events = [
        event(x=x, y=y, ts=time(sec=t // 10**6, nanosec=t % 10**6 * 1000), polarity=bool(p))
        for t, x, y, p in zip(*(EVENTS[name].tolist() for name in "txyp"), strict=True)
    ]
    ros1 = store.startswith("ROS1")
    serialise = types.serialize_ros1 if ros1 else types.serialize_cdr
    form = "ros1" if ros1 else "cdr"
    data = bytes(
        serialise(array(header=head, height=480, width=640, events=events), array.__msgtype__)
    )
    assert same(taken(ARRAYS[0], form, data), EVENTS)
    content = np.arange(80, dtype=np.uint8)
    message = packet(
        header=head, height=480, width=640, seq=9, time_base=12_345, encoding="mono",
        is_bigendian=False, events=content,
    )  # fmt: skip
    found = decode_message(
        PACKETS[0], form, memoryview(bytes(serialise(message, packet.__msgtype__)))
    )
    rows = np.frombuffer(content.tobytes(), "<u4").reshape(-1, 2)
    assert found.sensor == SensorSize(640, 480)
    got = found.take(0, found.events)
    assert got["t"].tolist() == ((rows[:, 0].astype(np.int64) + 12_345) // 1000).tolist()
    assert got["x"].tolist() == (rows[:, 1] & 0xFFFF).tolist()
