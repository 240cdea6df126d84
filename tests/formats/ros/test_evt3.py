"""EVT3 in EventPacket messages: as the same words in a .raw file, however they are cut."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.bags import PACKET, TOPIC, on, with_imu, write_bag, write_mcap
from helpers.event_files import Whole, same
from helpers.mutation_seeds import seed_of
from helpers.ros_messages import cdr_packet, ros1_packet

from streamstop.formats.detect import open_recording

SEED = seed_of("evt3")
HEADER = SEED.content.index(b"% end\n") + 6
WORDS = SEED.content[HEADER:]


def cut(size: int) -> list[bytes]:
    return [WORDS[i : i + size] for i in range(0, len(WORDS), size)]


@pytest.mark.parametrize("size", [2, 200, 3602, 1 << 20])
def test_the_state_goes_on_across_messages(tmp_path: Path, size: int) -> None:
    parts = cut(size)[: 3000 if size == 2 else None]
    messages = (cdr_packet(one, "evt3", 10**18) for one in parts)
    path = write_mcap(tmp_path / "rec.mcap", with_imu(on(TOPIC, PACKET, messages)), "zstd")
    recording = open_recording(str(path))
    packets = list(recording.packets())
    whole = Whole(packets)
    expected = SEED.events if size > 2 else SEED.events[: len(whole.events)]
    assert same(whole.events, expected)
    assert len(whole.events) > 1000
    assert not whole.damage and not whole.dropped
    for i in range(0, len(packets), max(len(packets) // 9, 1)):
        rest = Whole(recording.packets(packets[i].cursor))
        assert same(rest.events, Whole(packets[i + 1 :]).events)


def test_a_message_with_many_events_is_read_on_from_its_middle(tmp_path: Path) -> None:
    words = np.tile(np.array([3 << 12 | 8, *[4 << 12 | 0xFFF] * 10], np.uint16), 2000)
    start = np.array([8 << 12 | 5, 6 << 12 | 7, 0 << 12 | 3], np.uint16)
    content = np.concatenate([start, words]).tobytes()
    path = write_bag(tmp_path / "rec.bag", on(TOPIC, PACKET, [ros1_packet(content, "evt3")]))
    recording = open_recording(str(path))
    packets = list(recording.packets())
    assert len(packets) == 4
    whole = Whole(packets)
    assert len(whole.events) == 2000 * 120
    assert set(whole.events["t"].tolist()) == {5 << 12 | 7}
    for i, packet in enumerate(packets):
        rest = Whole(recording.packets(packet.cursor))
        assert same(rest.events, Whole(packets[i + 1 :]).events)


def test_after_a_missing_message_events_wait_for_their_time(tmp_path: Path) -> None:
    """No event comes out that was not there, whichever message is missing."""
    known = set(SEED.events.tolist())
    parts = cut(700)
    for lost in range(1, len(parts) - 1):
        messages = [ros1_packet(one, "evt3") for one in parts]
        messages[lost] = messages[lost][:-1]  # refused for its length
        path = write_bag(tmp_path / "rec.bag", on(TOPIC, PACKET, messages), chunk_bytes=1 << 20)
        recording = open_recording(str(path))
        packets = list(recording.packets())
        whole = Whole(packets)
        assert set(whole.events.tolist()) <= known
        assert len(whole.damage) == 1
        assert len(whole.events) + whole.dropped["untimed"] > len(SEED.events) - 400
        at = next(i for i, one in enumerate(packets) if one.damage)
        for i in (at - 1, at, min(at + 1, len(packets) - 1)):
            rest = Whole(recording.packets(packets[i].cursor))
            assert same(rest.events, Whole(packets[i + 1 :]).events)


def test_a_time_low_does_not_end_the_wait(tmp_path: Path) -> None:
    """Its TIME_HIGH may have been in what is missing."""
    words = [
        [8 << 12 | 1, 6 << 12 | 10, 3, 2 << 12 | 20],
        [8 << 12 | 2],
        [6 << 12 | 30, 4, 2 << 12 | 21],
        [8 << 12 | 3, 6 << 12 | 40, 5, 2 << 12 | 22],
    ]
    messages = [ros1_packet(np.array(one, np.uint16).tobytes(), "evt3") for one in words]
    messages[1] = messages[1][:-1]
    path = write_bag(tmp_path / "rec.bag", on(TOPIC, PACKET, messages))
    whole = Whole(open_recording(str(path)).packets())
    assert whole.events["t"].tolist() == [1 << 12 | 10, 3 << 12 | 40]
    assert whole.events["y"].tolist() == [3, 5]
    assert whole.dropped["untimed"] == 1


def test_invalid_words_are_damage_and_cost_their_surroundings(tmp_path: Path) -> None:
    parts = [bytearray(one) for one in cut(700)]
    parts[4][101] = 0x90  # a type that does not exist
    messages = (ros1_packet(bytes(one), "evt3") for one in parts)
    path = write_bag(tmp_path / "rec.bag", on(TOPIC, PACKET, messages))
    packets = list(open_recording(str(path)).packets())
    whole = Whole(packets)
    assert set(whole.events.tolist()) <= set(SEED.events.tolist())
    assert len(whole.events) > len(SEED.events) - 200
    assert "invalid words" in whole.damage[0].reason
    for i, packet in enumerate(packets):
        rest = Whole(open_recording(str(path)).packets(packet.cursor))
        assert same(rest.events, Whole(packets[i + 1 :]).events)
