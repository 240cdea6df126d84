"""Reads recordings of events in ROS 1 bags, MCAP files, and `.db3` files of ROS 2.

One topic is read: the only one with messages of events, or that of `?topic=`. Which messages these
are is in `streamstop.formats.ros.messages`.

Guarantees:

- Events are in the file's order, with their own times in whole microseconds (of an EventArray and
  of "mono" and "libcaer" those of ROS, usually since 1970; of "evt3" the camera's own). How many
  step back in time is noted after the file was read to its end.
- Memory is bounded by one chunk or message, and by that of its compressed form.
- A message that is not what its type states costs that message.

Does not:

- Read from a pipe: the topics are known only when the file is.
- Sort messages by time; they are in the order in which they were recorded.
- Notice a topic that appears only in a damaged part of a file without an index.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from streamstop.errors import NoEventsError, SourceError
from streamstop.events.packet import (
    MAX_PACKET_EVENTS,
    Cursor,
    Damage,
    Events,
    Packet,
    SensorSize,
    empty_events,
)
from streamstop.formats.byte_reader import STDIN, open_bytes
from streamstop.formats.ros import bag1, db3, mcap
from streamstop.formats.ros.containers import Channels, Item, Lost, Message
from streamstop.formats.ros.evt3 import Evt3Decoder
from streamstop.formats.ros.messages import (
    SERIALISATIONS,
    EventMessage,
    MessageError,
    decode_message,
    is_event_type,
)

_ZSTD = b"\x28\xb5\x2f\xfd"
_SHOWN_TOPICS = 12
_PLACE_BITS, _DONE_BITS = 32, 32


class _State:
    """What reading carries from message to message: counts, the last time, the EVT3 decoder."""

    def __init__(self, path: str, start: Cursor | None) -> None:
        at = start if start is not None else Cursor(path)
        self.path, self.index, self.t_us = path, at.event, at.t_us
        self.offset = at.offset
        self.done = at.skip & ((1 << _DONE_BITS) - 1)
        self.place = at.skip >> _DONE_BITS & ((1 << _PLACE_BITS) - 1)
        self._number = (at.skip >> (_DONE_BITS + _PLACE_BITS)) - 1
        self._decoder: Evt3Decoder | None = None
        self.steps_back = 0
        self._latest: int | None = at.t_us if at.event else None

    @property
    def decoder(self) -> Evt3Decoder:
        """The decoder of EVT3, made when it is needed."""
        if self._decoder is None:
            self._decoder = Evt3Decoder(self._number, self.t_us)
        return self._decoder

    def lose(self) -> None:
        """A message is missing here."""
        if self._decoder is not None or self._number >= 0:
            self.decoder.lose()

    def packet(
        self,
        events: Events,
        position: tuple[int, int],
        done: int,
        *,
        untimed: int = 0,
        damage: tuple[Damage, ...] = (),
    ) -> Packet:
        """A packet, with the cursor after `done` events or words of the message at `position`."""
        self.index += len(events)
        self.offset, self.place = position
        if len(events):
            t = events["t"]
            before = t[0] if self._latest is None else self._latest
            self.steps_back += int((np.diff(t, prepend=before) < 0).sum())
            self._latest = self.t_us = int(t[-1])
        number = self._number
        if self._decoder is not None:
            number, self.t_us = self._decoder.number, self._decoder.t_us
        skip = (((number + 1) << _PLACE_BITS) | self.place) << _DONE_BITS | done
        cursor = Cursor(self.path, self.offset, self.index, self.t_us, skip)
        dropped = {"untimed": untimed} if untimed else {}
        return Packet(events, cursor, dropped=dropped, damage=damage)


class RosRecording:
    """A ROS 1 bag, an MCAP file or a `.db3`; see `streamstop.formats.base.Recording`.

    Parameters
    ----------
    path
        The file.
    topic
        The topic to read; "" for the only one with events.

    Raises
    ------
    SourceError
        If the file cannot be read, it has no such topic or several, or its events have an
        encoding that is not read.
    """

    simulated = False
    sensor_inferred = False

    def __init__(self, path: str, topic: str = "") -> None:
        self.path = path
        if path == STDIN:
            raise SourceError(
                f"bags cannot be read from a pipe; save it to a file and give that: {path}"
            )
        with open_bytes(path) as data:
            head = data.read_at(0, 1 << 10)
            compressed = not data.seekable
        kinds = {bag1.MAGIC: "rosbag", mcap.MAGIC: "mcap", db3.MAGIC: "db3"}
        found = next((name for magic, name in kinds.items() if head.startswith(magic)), None)
        if found is None:
            raise SourceError(f"neither a bag of version 2.0, MCAP, nor SQLite: {path}")
        if found == "db3" and compressed:
            raise SourceError(f"SQLite cannot be read compressed; unpack it to a file: {path}")
        self.format = found
        self._notes: list[str] = []
        self.notes = self._notes
        self._channels = self._all_channels()
        self._topic = self._chosen(topic)
        self._wanted = frozenset(
            number
            for number, one in self._channels.items()
            if one.topic == self._topic and is_event_type(_plain(one.kind))
        )
        self.sensor = self._first_sensor()

    def packets(self, start: Cursor | None = None) -> Iterator[Packet]:
        """Packets from `start` on; see `Recording.packets`."""
        state = _State(self.path, start)
        done = state.done
        for item in self._items(state.offset, state.place):
            if isinstance(item, Lost):
                state.lose()
                damage = (Damage(item.offset, item.size, item.reason, self.path),)
                if item.reason:
                    yield state.packet(empty_events(), item.after, 0, damage=damage)
            elif self._is_wanted(item.channel):
                yield from self._message(item, state, done)
            done = 0
        if start is None and state.steps_back:
            self._note_order(state.steps_back, state.index)

    def _message(self, message: Message, state: _State, done: int) -> Iterator[Packet]:
        """The packets of a message, from an event or word of it on."""
        channel = self._channels[message.channel]
        try:
            content = decode_message(_plain(channel.kind), channel.encoding, message.data)
        except MessageError as error:
            state.lose()
            reason = f"a message cannot be decoded: {error}"
            damage = Damage(message.at, len(message.data), reason, self.path)
            yield state.packet(empty_events(), message.after, 0, damage=(damage,))
            return
        here = (message.offset, message.place)
        if content.encoding == "evt3":
            yield from self._words(message, content, state, done)
        for first in range(done, content.events, MAX_PACKET_EVENTS):
            last = min(first + MAX_PACKET_EVENTS, content.events)
            whole = last == content.events
            at, rest = (message.after, 0) if whole else (here, last)
            yield state.packet(content.take(first, last), at, rest)
        if content.odd:
            reason = "a message ends inside an event"
            damage = Damage(message.at, content.odd, reason, self.path)
            yield state.packet(empty_events(), message.after, 0, damage=(damage,))

    def _words(
        self, message: Message, content: EventMessage, state: _State, done: int
    ) -> Iterator[Packet]:
        words = content.words
        for part in state.decoder.decode(words, done):
            damage: tuple[Damage, ...] = ()
            if part.damage is not None:
                first, last = part.damage
                reason = "invalid words, and what follows them up to the next time"
                size = 2 * (last - first)
                damage = (Damage(message.at, size, reason, self.path),)
            whole = part.word == len(words)
            at, rest = (message.after, 0) if whole else (
                (message.offset, message.place), part.word
            )  # fmt: skip
            if len(part.events) or damage or part.untimed or not whole:
                yield state.packet(part.events, at, rest, untimed=part.untimed, damage=damage)

    def _items(self, offset: int, place: int) -> Iterator[Item]:
        if self.format == "db3":
            yield from db3.items(self.path, self._wanted, offset)
            return
        items = bag1.items if self.format == "rosbag" else mcap.items
        with open_bytes(self.path) as data:
            yield from items(data, self._channels, offset, place)
            for one in data.fault:
                yield Lost(one.offset, one.lost_bytes, one.reason, (one.offset, 0))

    def _is_wanted(self, channel: int) -> bool:
        """Whether a channel is of the topic; those that appear while reading are, too."""
        if channel in self._wanted:
            return True
        found = self._channels.get(channel)
        return (
            found is not None and found.topic == self._topic and is_event_type(_plain(found.kind))
        )

    def _all_channels(self) -> Channels:
        """All channels of the file, by its index, else by reading it through."""
        if self.format == "db3":
            try:
                return db3.channels_of(self.path)
            except (*db3.FAULTS, db3.NoBagError) as error:
                raise SourceError(f"cannot be read as a ROS 2 bag: {error}: {self.path}") from error
        indexed = bag1.indexed_channels if self.format == "rosbag" else mcap.indexed_channels
        items = bag1.items if self.format == "rosbag" else mcap.items
        with open_bytes(self.path) as data:
            channels = indexed(data)
        if channels is None:
            channels = {}
            with open_bytes(self.path) as data:
                for _ in items(data, channels, 0, 0):
                    pass
            self._notes.append("the file has no index that can be read; it was read through")
        return channels

    def _chosen(self, topic: str) -> str:
        """The topic that is read."""
        of_events = sorted(
            {one.topic for one in self._channels.values() if is_event_type(_plain(one.kind))}
        )
        if topic and topic not in of_events:
            raise SourceError(f"no topic {topic!r} with events; {self._described()}: {self.path}")
        if not of_events:
            raise NoEventsError(f"no topic holds events; {self._described()}: {self.path}")
        if not topic and len(of_events) > 1:
            raise SourceError(
                f"several topics hold events: {', '.join(of_events[:_SHOWN_TOPICS])}; give one "
                f"with ?topic={of_events[0]}: {self.path}"
            )
        chosen = topic or of_events[0]
        for one in self._channels.values():
            if one.topic == chosen and one.encoding not in SERIALISATIONS:
                raise SourceError(
                    f"messages of {chosen} are serialised as {one.encoding[:40]!r}; read are "
                    f"{' and '.join(SERIALISATIONS)}: {self.path}"
                )
        return chosen

    def _described(self) -> str:
        topics = sorted({f"{one.topic} ({one.kind})" for one in self._channels.values()})
        more = f" and {len(topics) - _SHOWN_TOPICS} more" if len(topics) > _SHOWN_TOPICS else ""
        return f"the file has {', '.join(topics[:_SHOWN_TOPICS]) or 'no topic at all'}{more}"

    def _first_sensor(self) -> SensorSize | None:
        """The sensor in the topic's first message that can be decoded.

        Raises
        ------
        SourceError
            If there is none.
        """
        reason = "the topic has no message"
        for item in self._items(0, 0):
            if isinstance(item, Lost) or not self._is_wanted(item.channel):
                continue
            channel = self._channels[item.channel]
            try:
                return decode_message(_plain(channel.kind), channel.encoding, item.data).sensor
            except MessageError as error:
                reason = f"no message can be decoded: {error}"
                if item.data[:4] == _ZSTD:
                    reason = (
                        "its messages are compressed one by one; rewrite it with `ros2 bag "
                        "convert` and compression_mode: file, or none"
                    )
        raise SourceError(f"{self._topic} cannot be read: {reason}: {self.path}")

    def _note_order(self, steps_back: int, events: int) -> None:
        text = f"{self._topic}: {steps_back} of {events} events lie before the one they follow"
        if text not in self._notes:
            self._notes.append(text)


def _plain(kind: str) -> str:
    """The type without the `/msg` of ROS 2."""
    return kind.replace("/msg/", "/")
