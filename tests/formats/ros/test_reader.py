"""Bags of ROS 1 and ROS 2: every container, their topics, resuming, damage, refusals."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
from helpers.bags import ARRAY, PACKET, TOPIC, Sent, on, with_imu, write_bag, write_db3, write_mcap
from helpers.capped import read_capped
from helpers.event_files import Whole, random_events, same
from helpers.ros_messages import cdr_array, cdr_packet, ros1_array, ros1_packet

from streamstop.errors import SourceError
from streamstop.events.packet import SensorSize, make_events
from streamstop.formats.base import read_packets
from streamstop.formats.detect import open_recording
from streamstop.formats.ros.reader import RosRecording
from streamstop.sources.open import open_source

PER_MESSAGE = 300
EVENTS = random_events(12_000, width=240, height=180)
PARTS = [EVENTS[i : i + PER_MESSAGE] for i in range(0, len(EVENTS), PER_MESSAGE)]


def sent(serialise=cdr_array) -> list[Sent]:  # type: ignore[no-untyped-def]
    return with_imu(on(TOPIC, ARRAY, (serialise(part, 240, 180) for part in PARTS)))


def bag_of(path: Path, name: str) -> Path:
    if name.startswith("bag"):
        return write_bag(path / "rec.bag", sent(ros1_array), name.partition("-")[2])
    if name == "db3":
        return write_db3(path / "rec.db3", sent())
    _, compression, kind = name.split("-")
    return write_mcap(path / "rec.mcap", sent(), compression, chunked=kind == "chunks")


CONTAINERS = (
    "bag", "bag-bz2", "bag-lz4", "db3", "mcap-none-chunks", "mcap-lz4-chunks", "mcap-zstd-chunks",
    "mcap-none-bare",
)  # fmt: skip


@pytest.mark.parametrize("name", CONTAINERS)
def test_every_event_is_read_and_reading_goes_on_from_any_packet(tmp_path: Path, name: str) -> None:
    recording = open_recording(str(bag_of(tmp_path, name)))
    assert recording.sensor == SensorSize(240, 180)
    assert list(recording.notes) == []
    packets = list(read_packets(recording))
    whole = Whole(packets)
    assert same(whole.events, EVENTS)
    assert not whole.damage and not whole.dropped
    for i in range(0, len(packets), 5):
        rest = Whole(recording.packets(packets[i].cursor))
        assert same(rest.events, Whole(packets[i + 1 :]).events)


@pytest.mark.parametrize("name", CONTAINERS)
def test_cut_off_anywhere_what_lies_before_is_read_and_the_loss_reported(
    tmp_path: Path, name: str
) -> None:
    path = bag_of(tmp_path, name)
    content = path.read_bytes()
    read = 0
    for share in (0.35, 0.5, 0.77):
        path.write_bytes(content[: int(share * len(content))])
        try:
            recording = open_recording(str(path))
        except SourceError:
            assert name == "db3"  # its tables may be at the end
            continue
        whole = Whole(read_packets(recording))
        assert same(whole.events, EVENTS[: len(whole.events)])
        assert whole.damage
        read += len(whole.events)
        if name != "db3":
            assert "no index" in recording.notes[0]
    assert read > len(EVENTS) or name == "db3"


@pytest.mark.parametrize("name", [one for one in CONTAINERS if one != "db3"])
def test_a_stretch_of_zeros_costs_what_it_touches(tmp_path: Path, name: str) -> None:
    path = bag_of(tmp_path, name)
    content = bytearray(path.read_bytes())
    at = len(content) // 2
    if name in ("bag", "mcap-none-bare"):  # the end of a message, the header of the next
        at = content.index(b"i" * 80, at) + 70
    content[at : at + 500] = bytes(500)
    path.write_bytes(content)
    packets = list(read_packets(open_recording(str(path))))
    whole = Whole(packets)
    assert whole.damage
    assert len(whole.events) > len(EVENTS) // 2
    rest = Whole(open_recording(str(path)).packets(packets[len(packets) // 3].cursor))
    assert same(rest.events, Whole(packets[len(packets) // 3 + 1 :]).events)
    touched = ~np.isin(EVENTS, whole.events)
    first, last = np.flatnonzero(touched)[[0, -1]]
    assert last - first < len(EVENTS) // 5
    inside = ~np.isin(whole.events, EVENTS)
    # Without a checksum, zeros inside a message are events like others.
    assert inside.sum() < (60 if name in ("bag", "mcap-none-bare") else 1)


def test_a_compressed_bag_is_read(tmp_path: Path) -> None:
    path = tmp_path / "rec.bag.gz"
    path.write_bytes(gzip.compress(bag_of(tmp_path, "bag").read_bytes(), 1))
    recording = open_recording(str(path))
    assert same(Whole(recording.packets()).events, EVENTS)


def test_of_several_topics_one_is_asked_for(tmp_path: Path) -> None:
    other = random_events(500, seed=3)
    two = [
        *on("/left/events", ARRAY, [ros1_array(EVENTS[:400])]),
        *on("/right/events", "prophesee_event_msgs/msg/EventArray", [ros1_array(other)]),
    ]
    path = write_bag(tmp_path / "rec.bag", with_imu(two))
    with pytest.raises(SourceError, match=r"/left/events, /right/events; .* \?topic=/left/events"):
        open_recording(str(path))
    with open_source(f"{path}?topic=/right/events") as source:
        assert same(Whole(source).events, other)
    with pytest.raises(SourceError, match=r"no topic '/imu' with events; the file has /imu \(sens"):
        open_recording(str(path), {"topic": "/imu"})


def test_a_bag_without_events_names_what_it_has(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "rec.mcap", [("/imu", "sensor_msgs/msg/Imu", b"1234")])
    with pytest.raises(SourceError, match=r"no topic holds events; the file has /imu \(sensor_msg"):
        open_recording(str(path))


def test_other_serialisations_and_encodings_are_named(tmp_path: Path) -> None:
    path = write_mcap(tmp_path / "a.mcap", on(TOPIC, ARRAY, [b"{}"]), encoding="json")
    with pytest.raises(SourceError, match="serialised as 'json'; read are ros1 and cdr"):
        open_recording(str(path))
    path = write_mcap(tmp_path / "b.mcap", on(TOPIC, PACKET, [cdr_packet(bytes(8), "evt21")]))
    with pytest.raises(SourceError, match="encoded as 'evt21'; read are evt3, mono, libcaer"):
        open_recording(str(path))
    packet = ros1_packet(bytes(8), "mono", big=True)
    path = write_bag(tmp_path / "c.bag", on(TOPIC, PACKET, [packet]))
    with pytest.raises(SourceError, match="big-endian"):
        open_recording(str(path))
    path = write_db3(tmp_path / "d.db3", on(TOPIC, ARRAY, [b"\x28\xb5\x2f\xfd" + bytes(20)]))
    with pytest.raises(SourceError, match="compressed one by one"):
        open_recording(str(path))


def test_events_that_step_back_are_read_in_their_order_and_noted(tmp_path: Path) -> None:
    events = EVENTS[:600].copy()
    events["t"][[300, 301]] -= 5000
    path = write_bag(
        tmp_path / "rec.bag", on(TOPIC, ARRAY, [ros1_array(events[:300]), ros1_array(events[300:])])
    )
    recording = open_recording(str(path))
    assert same(Whole(recording.packets()).events, events)
    assert "1 of 600 events lie before" in recording.notes[-1]
    assert same(Whole(recording.packets()).events, events)
    assert len(recording.notes) == 1


def test_a_message_of_many_events_becomes_several_packets(tmp_path: Path) -> None:
    events = random_events(150_000)
    path = tmp_path / "rec.mcap"
    write_mcap(path, on(TOPIC, "dvs_msgs/msg/EventArray", [cdr_array(events)]), "lz4")
    packets = list(open_recording(str(path)).packets())
    assert same(Whole(packets).events, events)
    assert [len(one.events) for one in packets] == [65536, 65536, 18928]
    rest = Whole(open_recording(str(path)).packets(packets[0].cursor))
    assert same(rest.events, events[65536:])


def test_a_message_of_another_length_costs_itself(tmp_path: Path) -> None:
    messages = [ros1_array(part) for part in PARTS[:5]]
    messages[2] = messages[2][:-1]
    path = write_bag(tmp_path / "rec.bag", on(TOPIC, ARRAY, messages))
    whole = Whole(open_recording(str(path)).packets())
    assert same(whole.events, np.concatenate([*PARTS[:2], *PARTS[3:5]]))
    (damage,) = whole.damage
    assert path.read_bytes()[damage.offset :].startswith(messages[2])
    assert "but its fields" in damage.reason


def test_a_chunk_that_unpacks_to_a_gigabyte(tmp_path: Path) -> None:
    import lz4.frame

    path = bag_of(tmp_path, "bag-lz4")
    content = path.read_bytes()
    bomb = lz4.frame.compress(bytes(1 << 30))
    fields = [b"op=\x05", b"compression=lz4", b"size=" + struct.pack("<I", 1 << 30)]
    head = b"".join(struct.pack("<I", len(one)) + one for one in fields)
    chunk = struct.pack("<I", len(head)) + head + struct.pack("<I", len(bomb)) + bomb
    path.write_bytes(content[:4109] + chunk + content[4109:])
    answer = read_capped(path)
    assert answer["events"] == len(EVENTS)
    assert [one[:2] for one in answer["damage"]] == [[4109, len(chunk)]]
    fields[2] = b"size=" + struct.pack("<I", 1000)
    head = b"".join(struct.pack("<I", len(one)) + one for one in fields)
    chunk = struct.pack("<I", len(head)) + head + struct.pack("<I", len(bomb)) + bomb
    path.write_bytes(content[:4109] + chunk + content[4109:])
    answer = read_capped(path)
    assert answer["events"] == len(EVENTS)
    assert "more than its header states" in answer["damage"][0][2]


def test_a_view_in_a_database_is_not_run(tmp_path: Path) -> None:
    import sqlite3

    path = write_db3(tmp_path / "rec.db3", on(TOPIC, ARRAY, [cdr_array(EVENTS[:9])]))
    with sqlite3.connect(path) as file:
        file.execute("ALTER TABLE messages RENAME TO others")
        file.execute(
            "CREATE VIEW messages AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 "
            "FROM n) SELECT i AS id, 1 AS topic_id, 0 AS timestamp, x'00' AS data FROM n"
        )
    file.close()
    with pytest.raises(SourceError, match="'messages' is not a plain table"):
        open_recording(str(path))


def test_a_pipe_and_another_database_are_refused(tmp_path: Path) -> None:
    import sqlite3

    with pytest.raises(SourceError, match="cannot be read from a pipe"):
        RosRecording("-")
    with sqlite3.connect(tmp_path / "a.db") as file:
        file.execute("CREATE TABLE films(title TEXT)")
    file.close()
    with pytest.raises(SourceError, match="no tables 'topics' and 'messages'"):
        open_recording(str(tmp_path / "a.db"))


def test_an_event_before_1970_and_a_full_second(tmp_path: Path) -> None:
    events = make_events([-1_500_000, -1, 0, 2_000_000], [1, 2, 3, 4], [5, 6, 7, 8], [1, 0, 1, 0])
    path = write_mcap(tmp_path / "rec.mcap", on(TOPIC, ARRAY, [cdr_array(events, extra_ns=999)]))
    assert same(Whole(open_recording(str(path)).packets()).events, events)


def test_an_attachment_and_metadata_are_passed_over(tmp_path: Path) -> None:
    mcap = pytest.importorskip("mcap.writer")
    path = tmp_path / "rec.mcap"
    with path.open("wb") as file:
        writer = mcap.Writer(file, chunk_size=5000)
        writer.start("ros2")
        schema = writer.register_schema(ARRAY, "ros2msg", b"#")
        channel = writer.register_channel(TOPIC, "cdr", schema)
        writer.add_metadata("rosbag2", {"a": "b"})
        for i, part in enumerate(PARTS[:10]):
            writer.add_message(channel, i, cdr_array(part), i)
        writer.add_attachment(1, 1, "calibration.yaml", "text/yaml", bytes(range(256)) * 50)
        writer.finish()
    recording = open_recording(str(path))
    whole = Whole(recording.packets())
    assert same(whole.events, EVENTS[: 10 * PER_MESSAGE])
    assert not whole.damage and not recording.notes
    path.write_bytes(path.read_bytes()[:-60])  # without its summary
    recording = open_recording(str(path))
    assert same(Whole(recording.packets()).events, EVENTS[: 10 * PER_MESSAGE])


def test_a_chunk_of_zstd_that_unpacks_to_a_gigabyte(tmp_path: Path) -> None:
    import zstandard

    path = bag_of(tmp_path, "mcap-zstd-chunks")
    content = path.read_bytes()
    at = next(i for i in range(17, 200) if content[i] == 6 and content[i + 41 : i + 45] == b"zstd")
    bomb = zstandard.compress(bytes(1 << 30))
    for stated in (1 << 30, 1000):
        head = struct.pack("<QQQII", 0, 0, stated, 0, 4) + b"zstd" + struct.pack("<Q", len(bomb))
        chunk = struct.pack("<BQ", 6, len(head) + len(bomb)) + head + bomb
        path.write_bytes(content[:at] + chunk + content[at:])
        answer = read_capped(path)
        assert answer["events"] == len(EVENTS)
        assert [one[:2] for one in answer["damage"]] == [[at, len(chunk)]]
