"""Events over loopback at a camera's rate: events sent against events binned, and the CPU time.

Senders are aestream's command line and ours, each in its own process. The receiver is that of a
run: the feed is read on a thread into the ring, packets are binned, the ledger is kept. All events
are known: without losses the events are compared one by one; with lost datagrams their events are
counted from the sender's datagrams, which all have one size. aestream sends as fast as it reads;
its process is stopped and continued, by how far it has read its file, to hold it to a rate. Writes
docs/results/network.md.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from benchmarks._shared.provenance import ROOT, provenance
from streamstop.events.binning import Binner
from streamstop.events.ledger import EventLedger
from streamstop.events.packet import Events, SensorSize, make_events
from streamstop.sources.live.dv_tcp import DvTcpFeed
from streamstop.sources.live.source import LiveSource
from streamstop.sources.live.udp import UdpFeed
from streamstop.tools.send import DATAGRAM_BYTES, send_recording

SENSOR = SensorSize(304, 240)
BLOCK = 1_000_000
"""The stream is this many seeded events, a second of them, again and again."""

AESTREAM_BYTES = {True: 256, False: 512}
"""Its datagrams, with timestamps and without."""

HEADER = f"% Version 2\n% Width {SENSOR.width}\n% Height {SENSOR.height}\n".encode() + b"\x0c\x08"
QUIET_S = 1.0


class Case(NamedTuple):
    """One sender: "aestream" or "ours" over UDP, or "ours, TCP"; rate 0 is as fast as it goes."""

    sender: str
    stamped: bool
    rate: int
    seconds: int

    @property
    def events(self) -> int:
        return self.seconds * BLOCK

    @property
    def datagram_events(self) -> int:
        if self.sender == "aestream":
            return AESTREAM_BYTES[self.stamped] // (8 if self.stamped else 4)
        return DATAGRAM_BYTES // (8 if self.stamped else 4)


def cases(seconds: int) -> list[Case]:
    """All that is measured."""
    short = max(seconds // 6, 1)
    return [
        Case("aestream", True, BLOCK, seconds),
        Case("aestream", False, BLOCK, seconds),
        Case("ours", True, BLOCK, seconds),
        Case("ours", False, BLOCK, seconds),
        Case("aestream", True, 0, short),
        Case("ours", True, 0, short),
        Case("ours, TCP", True, BLOCK, seconds),
        Case("ours, TCP", True, 0, short),
    ]


def block() -> Events:
    """One second of seeded events, in order of time."""
    rng = np.random.default_rng(0)
    t = np.arange(BLOCK) * 1_000_000 // BLOCK
    x, y = rng.integers(0, SENSOR.width, BLOCK), rng.integers(0, SENSOR.height, BLOCK)
    return make_events(t, x, y, rng.random(BLOCK) < 0.3)


def write_dat(seconds: int, path: Path) -> None:
    """The stream as Prophesee DAT, the one format that aestream reads exactly."""
    events = block()
    words = np.empty((BLOCK, 2), "<u4")
    words[:, 1] = events["x"].astype("<u4") | events["y"].astype("<u4") << 14
    words[:, 1] |= events["p"].astype("<u4") << 28
    with path.open("wb") as file:
        file.write(HEADER)
        for second in range(seconds):
            words[:, 0] = events["t"] + second * 1_000_000
            file.write(words.tobytes())


def send_by_aestream(path: Path, port: int, case: Case) -> dict[str, Any]:
    """Run aestream's sender on the file, held to the case's rate; what it reports."""
    command = Path(sys.executable).with_name("aestream")
    to = ["127.0.0.1", str(port), "--include-timestamp", str(case.stamped).lower()]
    process = subprocess.Popen(
        [str(command), "input", "file", str(path), "output", "udp", *to], stdout=subprocess.PIPE
    )
    begun = time.monotonic()
    if case.rate:
        begun = hold(process, path, case.rate)
    output = process.communicate()[0].decode()
    return {"reported": int(output.split()[-2]), "seconds": time.monotonic() - begun}


def hold(process: subprocess.Popen[bytes], path: Path, rate: int) -> float:
    """Stop and continue a process that reads a DAT file so that it reads `rate` events a second."""
    position: Path | None = None
    begun, stopped = 0.0, False
    while process.poll() is None:
        try:
            if position is None:
                position, begun = file_position(process.pid, path), time.monotonic()
                continue
            # A block that was read is sent before the next is: the file runs ahead by one at most.
            read = (int(position.read_text().split()[1]) - len(HEADER)) / 8
        except (OSError, IndexError, ValueError):
            continue
        ahead = read > (time.monotonic() - begun) * rate
        if ahead != stopped:
            process.send_signal(signal.SIGSTOP if ahead else signal.SIGCONT)
            stopped = ahead
        time.sleep(0.0005)
    return begun


def file_position(pid: int, path: Path) -> Path | None:
    """How far a process has read a file, on Linux; None before it has opened it."""
    for one in Path(f"/proc/{pid}/fd").iterdir():
        if os.path.realpath(one) == str(path.resolve()):
            return Path(f"/proc/{pid}/fdinfo/{one.name}")
    return None


def send(path: Path, port: int, case: Case) -> dict[str, Any]:
    """What the sending process does; what came of it."""
    if case.sender == "aestream":
        return send_by_aestream(path, port, case)
    scheme = "dv" if case.sender == "ours, TCP" else "udp"
    speed = case.rate / BLOCK
    sent = send_recording(
        str(path),
        f"{scheme}://:{port}",
        speed=speed,
        timestamps=case.stamped,
        client_timeout_s=30.0,
    )
    return {
        "reported": sent.events,
        "seconds": sent.seconds,
        "late_s": sent.late_s,
        "lost": sent.lost,
        "ended": sent.ended,
    }


def receive(case: Case, path: Path, folder: Path) -> dict[str, Any]:
    """Start a sender, bin what comes, and put both accounts side by side."""
    port = 39_117
    if case.sender == "ours, TCP":
        sender = start(case, path, port)
        feed: Any = connect(port)
    else:
        feed = UdpFeed("127.0.0.1", 0, SENSOR)
        feed.warm_up()
        sender = start(case, path, feed.port)
    truth = block()
    binner = Binner(SENSOR)
    ledger = EventLedger(binner)
    polarity = np.zeros(2, np.int64)
    same, index, heard, first = True, 0, time.monotonic(), 0.0
    cpu_s = 0.0
    with LiveSource(feed) as source:
        for packet in source:
            now = time.monotonic()
            ledger.add(packet)
            n = len(packet.events)
            if n:
                if not index:
                    first, cpu_s = now, time.process_time()
                heard = now
                same = same and equal(packet.events, truth, index, case.stamped)
                index += n
            for one in binner.push(packet.events):
                polarity += one.counts.sum((1, 2))
            if sender.poll() is not None and time.monotonic() > heard + QUIET_S:
                break
    cpu_s = time.process_time() - cpu_s
    for one in binner.flush():
        polarity += one.counts.sum((1, 2))
    report = json.loads(sender.communicate()[0])
    lost = getattr(feed, "lost_datagrams", 0) or 0
    return {
        **report,
        "received": ledger.received,
        "binned": binner.binned,
        "dropped": Counter(ledger.dropped),
        "rejected": {cause: n for cause, n in binner.rejected.items() if n},
        "difference": ledger.unaccounted,
        "lost_datagrams": lost,
        "buffer_bytes": getattr(feed, "buffer_bytes", 0),
        "missing": case.events - ledger.received - lost * case.datagram_events,
        "on": int(polarity[1]),
        "sent_on": int(truth["p"].sum()) * case.seconds,
        "same": same and index == case.events,
        "cpu": cpu_s / max(heard - first, 1e-9),
        "took": heard - first,
    }


def start(case: Case, path: Path, port: int) -> subprocess.Popen[bytes]:
    """The sender in a process of its own."""
    what = json.dumps([str(path), port, case._asdict()])
    return subprocess.Popen(
        [sys.executable, "-m", "benchmarks.speed.network", "--send", what], stdout=subprocess.PIPE
    )


def connect(port: int) -> DvTcpFeed:
    """A connection to the server, once it listens."""
    from streamstop.errors import SourceError

    for _ in range(200):
        try:
            return DvTcpFeed("127.0.0.1", port, sensor=SENSOR)
        except SourceError:
            time.sleep(0.05)
    raise SystemExit("the server does not listen")


def equal(events: Events, truth: Events, index: int, stamped: bool) -> bool:
    """Whether these are the stream's events from `index` on."""
    at = (index + np.arange(len(events))) % BLOCK
    names = ("x", "y", "p")
    good = all(np.array_equal(events[name], truth[name][at]) for name in names)
    second = (index + np.arange(len(events))) // BLOCK
    return good and (
        not stamped or np.array_equal(events["t"], truth["t"][at] + second * 1_000_000)
    )


def row(case: Case, found: dict[str, Any]) -> str:
    """One line of the table."""
    causes = {**found["dropped"], **found["rejected"]}
    lost = found["lost_datagrams"]
    cells = [
        f"{case.sender}{'' if case.stamped else ', no timestamps'}",
        f"{case.rate / 1e6:g} Mev/s" if case.rate else "as it goes",
        f"{case.events:,}",
        f"{found['binned']:,}",
        ", ".join(f"{cause} {n:,}" for cause, n in causes.items()) or "0",
        f"{lost:,} of {case.datagram_events}" if lost else "0",
        f"{found['missing'] + found['difference']:,}",
        "yes" if found["same"] else f"no; ON {found['on']:,} of {found['sent_on']:,}",
        f"{case.events / found['took'] / 1e6:.2f}",
        f"{found['cpu']:.0%}",
    ]
    return f"| {' | '.join(cells)} |"


def report(results: list[tuple[Case, dict[str, Any]]]) -> str:
    """The page."""
    late = [found["late_s"] for case, found in results if case.rate and "late_s" in found]
    room = max(found["buffer_bytes"] for _, found in results)
    return "\n".join(
        [
            "# Events over the network",
            "",
            *provenance("benchmarks.speed.network", "streamstop", "aestream", "numpy", "numba"),
            "- loopback; the sender and the receiver each in a process of its own, on these cores",
            f"- the system granted the UDP receiver a buffer of {room:,} bytes, as it counts them",
            f"- input: the same {BLOCK:,} seeded events every second, 30 % ON, "
            f"sensor {SENSOR}, bins of 10 ms",
            "",
            "| sender | pace | sent | binned | dropped or rejected, by cause | datagrams lost | "
            "unaccounted for | every event as sent | Mev/s | receiver, of one core |",
            "|---|---|---|---|---|---|---|---|---|---|",
            *(row(case, found) for case, found in results),
            "",
            "- **sent**: events in the file; the sender reported the same number.",
            "- **datagrams lost**: the system's buffer had no room for them, as it counts them "
            "itself, each of so many events.",
            "- **unaccounted for**: sent less binned, dropped, rejected, and the events of lost "
            "datagrams.",
            "- **every event as sent**: column, row, polarity and (where there is one) time of "
            "each, in order; else how many ON events were binned.",
            "- **receiver, of one core**: processor time of the receiving process: the feed, the "
            "ring, the binner, and here the comparison with the truth.",
            "- aestream has no pace of its own: its process is stopped and continued by how far it "
            "has read its file, so that its events come in bursts of 4,096.",
            f"- our sender at its pace was never later than {max(late, default=0) * 1e3:.0f} ms "
            "behind its schedule.",
            "",
        ]
    )


def main() -> None:
    """Measure all cases, print the page, write it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=30)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "results" / "network.md")
    parser.add_argument("--send", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.send:
        path, port, case = json.loads(options.send)
        print(json.dumps(send(Path(path), port, Case(**case))))
        return
    results = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for case in cases(options.seconds):
            path = folder / f"{case.seconds}.dat"
            if not path.exists():
                write_dat(case.seconds, path)
            found = receive(case, path, folder)
            if found["reported"] != case.events:
                raise SystemExit(f"{case}: the sender sent {found['reported']:,} events")
            results.append((case, found))
            print(case, found, file=sys.stderr)
    page = report(results)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(page)
    print(page)


if __name__ == "__main__":
    main()
