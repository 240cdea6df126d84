"""The ledger: received = binned + dropped + rejected + pending, after every packet."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from streamstop.events.binning import Binner
from streamstop.events.ledger import MAX_DAMAGE_LISTED, EventLedger
from streamstop.events.packet import Damage, Packet, SensorSize, empty_events, make_events


def binner_of(reorder_window_us: int = 0) -> Binner:
    return Binner(
        SensorSize(4, 4), bin_us=10, height=4, width=4, reorder_window_us=reorder_window_us
    )


EVENTS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 5)), max_size=20)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(EVENTS, st.integers(0, 3)), max_size=8),
    st.sampled_from([0, 40]),
)
def test_it_balances_after_every_packet(packets, reorder_window_us):
    """Late events, columns 4 and 5 of a sensor of four, drops at the source: none goes missing."""
    binner = binner_of(reorder_window_us)
    ledger = EventLedger(binner)
    handed = dropped = 0
    for events, lost in packets:
        t, x = [e[0] for e in events], [e[1] for e in events]
        packet = Packet(
            make_events(t, x, [0] * len(t), [True] * len(t)),
            dropped={"overflow": lost} if lost else {},
        )
        ledger.add(packet)
        list(binner.push(packet.events))
        handed, dropped = handed + len(t), dropped + lost
        told = ledger.as_dict()
        parts = [told["binned"], told["pending"], *told["dropped"].values()]
        parts += told["rejected"].values()
        assert told["received"] == sum(parts) == handed + dropped
        assert ledger.unaccounted == 0
    list(binner.flush())
    told = ledger.as_dict()
    assert told["pending"] == 0
    assert told["received"] == told["binned"] + dropped + sum(told["rejected"].values())


def test_known_counts():
    binner = binner_of()
    ledger = EventLedger(binner)
    packet = Packet(make_events([50, 60, 3], [0, 9, 0], [0, 0, 0], [True] * 3), dropped={"usb": 7})
    ledger.add(packet)
    list(binner.push(packet.events))
    assert ledger.as_dict() == {
        "received": 10,
        "binned": 0,
        "dropped": {"usb": 7},
        "rejected": {"late": 1, "out_of_range": 1},
        "pending": 1,
        "damage": [],
        "damage_count": 0,
        "jumps": 0,
    }


def test_an_event_taken_but_never_binned_shows():
    ledger = EventLedger(binner_of())
    ledger.add(Packet(make_events([1, 2], [0, 0], [0, 0], [True, True])))
    assert ledger.unaccounted == 2


def test_causes_of_drops_add_up():
    ledger = EventLedger(binner_of())
    for dropped in ({"usb": 2}, {"usb": 3, "queue": 1}, {}):
        ledger.add(Packet(empty_events(), dropped=dropped))
    assert ledger.as_dict()["dropped"] == {"usb": 5, "queue": 1}
    assert ledger.received == 6
    assert ledger.unaccounted == 0


def test_damage_is_all_counted_and_some_listed():
    ledger = EventLedger(binner_of())
    for i in range(50):
        ledger.add(Packet(empty_events(), damage=(Damage(2 * i, 5, "odd", "a.dat"),) * (i % 3)))
    told = ledger.as_dict()
    assert told["damage_count"] == sum(i % 3 for i in range(50)) == 49
    ledger.add(Packet(empty_events(), damage=(Damage(7, 1, "even", "b.dat"),) * 1000))
    told = ledger.as_dict()
    assert told["damage_count"] == 1049
    assert len(told["damage"]) == MAX_DAMAGE_LISTED
    first = {"offset": 2, "lost_bytes": 5, "reason": "odd", "path": "a.dat", "lost_us": None}
    assert told["damage"][0] == first
    assert told["damage"][-1]["path"] == "b.dat"
    ledger.add(Packet(empty_events(), damage=(Damage(8, 1, "more", "c.dat"),)))
    assert len(ledger.as_dict()["damage"]) == MAX_DAMAGE_LISTED
