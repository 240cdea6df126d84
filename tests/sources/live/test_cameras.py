"""Cameras: what the libraries deliver arrives exactly; their errors are reported in time."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("neuromorphic_drivers", reason="the extra 'cameras' is not installed")
pytest.importorskip("dv_processing", reason="the extra 'cameras' is not installed")

import dv_processing
import neuromorphic_drivers
from helpers import camera_doubles as doubles
from helpers.clocks import Watch

from streamstop.errors import SourceError, UsageError
from streamstop.events.packet import EVENT_DTYPE, SensorSize
from streamstop.sources.live.cameras import discovery, dv, neuromorphic
from streamstop.sources.live.cameras.backend import SeenCamera, module_of
from streamstop.sources.live.cameras.open import BACKENDS, find_camera, open_camera
from streamstop.sources.live.cameras.usb import KINDS, fix_permission_hint, usb_cameras
from streamstop.sources.live.registry import CAMERAS
from streamstop.sources.open import open_source

SEEN = SeenCamera(("davis346",), "iniVation DAVIS 346", "00000104")
ON, OFF = True, False
PATIENT_S = 30.0
"""For libraries that answer, on a machine that is busy with other things."""


@pytest.fixture
def listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Let the libraries list what `spec` holds, in the discovery processes."""

    def say(**spec: Any) -> None:
        listing = {"neuromorphic": [], "dv": [], **spec}
        (tmp_path / "sitecustomize.py").write_text(
            f"import sys\nsys.path.insert(0, {str(Path(__file__).parents[2])!r})\n"
            f"from helpers import camera_doubles\ncamera_doubles.install({json.dumps(listing)!r})\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        hanging = {name for name in ("neuromorphic", "dv") if listing[name] == "hang"}
        hanging |= {"dv"} if listing.get("slow") == "dv_processing" else set()

        def answer(backend: Any, process: Any, wait_s: float) -> Any:
            hangs = module_of(backend) in hanging
            return answer_within(backend, process, 0.3 if hangs else PATIENT_S)

        monkeypatch.setattr(discovery, "_answer", answer)

    answer_within = discovery._answer
    say()
    return say


def feed_of(monkeypatch: pytest.MonkeyPatch, device: Any) -> Any:
    """The feed of a device of neuromorphic-drivers, opened as the program opens it."""
    seen: dict[str, Any] = {}
    monkeypatch.setattr(neuromorphic_drivers, "open", doubles.nd_open(device, seen))
    feed = neuromorphic.open_feed("davis346", "davis346", SEEN)
    assert seen["serial"] == "00000104"
    assert seen["iterator_timeout"] > 0, "without it a read could not be ended"
    return feed


def drain(feed: Any) -> list[Any]:
    """What comes until nothing does."""
    out = []
    while (got := feed.read(0.0)) is not None and (len(got.events) or got.damage):
        out.append(got)
    return out


# What is delivered.


def test_events_of_a_davis_come_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(5, 345, 259, ON), (2**33 + 7, 0, 1, OFF), (2**33 + 7, 2, 0, ON)]
    packet = doubles.nd_packet("Davis346Packet", doubles.nd_events(*rows))
    feed = feed_of(
        monkeypatch, doubles.NdDevice("inivation_davis346", [(doubles.nd_status(), packet)])
    )
    assert feed.sensor == (346, 260)
    assert feed.format == "davis346 by neuromorphic-drivers"
    got = feed.read(0.0)
    assert got.events.dtype == EVENT_DTYPE
    assert got.events.tolist() == rows
    assert got.dropped == {}
    assert got.damage == ()
    quiet = feed.read(0.0)
    assert len(quiet.events) == 0, "silence is no end"


@pytest.mark.parametrize(
    ("kind", "packet", "size"),
    [
        ("prophesee_evk4", "Evt3Packet", (1280, 720)),
        ("inivation_dvxplorer", "DvxplorerPacket", (640, 480)),
    ],
)
def test_every_packet_type_is_read(
    kind: str, packet: str, size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = doubles.nd_packet(packet, doubles.nd_events((1, 2, 3, OFF)))
    feed = feed_of(monkeypatch, doubles.NdDevice(kind, [(doubles.nd_status(), made)]))
    assert feed.sensor == size
    assert feed.read(0.0).events.tolist() == [(1, 2, 3, False)]


def test_the_extension_names_its_fields_as_the_doubles_do() -> None:
    module = Path(sys.modules["neuromorphic_drivers.neuromorphic_drivers"].__file__ or "")
    assert b"txyon" in module.read_bytes(), "the names of ND_EVENTS lie side by side in the library"


def test_an_overflow_is_reported_where_it_was_and_how_long(monkeypatch: pytest.MonkeyPatch) -> None:
    events = doubles.nd_events((10, 0, 0, ON), (20, 0, 0, ON), (520, 0, 0, ON), (530, 0, 0, ON))
    packet = doubles.nd_packet("Davis346Packet", events, overflows=[2])
    steps = [(doubles.nd_status(dropped=3), packet)]
    got = drain(feed_of(monkeypatch, doubles.NdDevice("inivation_davis346", steps)))
    assert [one.events["t"].tolist() for one in got] == [[10, 20], [520, 530]]
    assert got[0].damage == ()
    (damage,) = got[1].damage
    assert damage.lost_us == 500
    assert damage.reason.startswith("3 USB packets dropped by the driver")
    assert "their number of events is unknown" in damage.reason
    assert all(one.dropped == {} for one in got), "USB packets are no events"


def test_an_overflow_at_the_start_of_a_packet_knows_the_packet_before(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = doubles.nd_packet("Evt3Packet", doubles.nd_events((100, 0, 0, ON)))
    second = doubles.nd_packet("Evt3Packet", doubles.nd_events((175, 0, 0, OFF)), overflows=[0])
    steps = [
        (doubles.nd_status(), first),
        (doubles.nd_status(dropped=2, backlog=9), second),
    ]
    got = drain(feed_of(monkeypatch, doubles.NdDevice("prophesee_evk4", steps)))
    assert [len(one.events) for one in got] == [1, 1]
    assert [damage.lost_us for damage in got[1].damage] == [75]


def test_each_dropped_packet_is_reported_once(monkeypatch: pytest.MonkeyPatch) -> None:
    def packet(t: int, *overflows: int) -> Any:
        return doubles.nd_packet(
            "Davis346Packet", doubles.nd_events((t, 0, 0, ON), (t + 1, 0, 0, ON)), overflows
        )

    steps = [
        (doubles.nd_status(dropped=4, backlog=9), packet(10)),  # the gap is still in the queue
        (doubles.nd_status(dropped=4, backlog=1), packet(20, 1)),
        (doubles.nd_status(dropped=6, backlog=3, clutch=True), packet(30)),
        (doubles.nd_status(dropped=6), doubles.nd_packet("Davis346Packet", None)),  # place unknown
        (doubles.nd_status(dropped=6), packet(40)),
    ]
    got = drain(feed_of(monkeypatch, doubles.NdDevice("inivation_davis346", steps)))
    reasons = [damage.reason.split(" dropped")[0] for one in got for damage in one.damage]
    assert reasons == ["4 USB packets", "2 USB packets"]
    assert sum(len(one.events) for one in got) == 8


def test_events_of_dv_processing_come_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    t = 1_700_000_000_000_000
    stores = [
        doubles.dv_store((t, 239, 0, OFF), (t, 0, 179, ON)),
        doubles.dv_store((t + 9, 1, 2, ON)),
    ]
    camera = doubles.dv_camera((240, 180), [None, *stores], frames=3, runs_on=True)
    asked: list[Any] = []
    monkeypatch.setattr(
        dv_processing.io.camera, "open", lambda *serial: asked.append(serial) or camera
    )
    feed = dv.open_feed("davis240", "davis240", SeenCamera(("davis240",), "DAVIS", "77"))
    assert asked == [("77",)]
    assert feed.sensor == (240, 180)
    first, second = feed.read(0.5), feed.read(0.5)
    assert first is not None and second is not None
    assert first.events.tolist() == [(t, 239, 0, False), (t, 0, 179, True)]
    assert second.events.tolist() == [(t + 9, 1, 2, True)]
    assert camera.getNextFrame() is None, "frames are not left to pile up"
    begin = time.perf_counter()
    quiet = feed.read(0.05)
    assert quiet is not None and len(quiet.events) == 0
    assert 0.04 < time.perf_counter() - begin < PATIENT_S


def test_the_open_function_of_dv_processing_takes_a_serial_number() -> None:
    message = dv_processing.io.camera.open.__doc__
    assert "open(serialNumber: str" in message
    assert "open(deviceLogLevel" in message, "and no argument at all"


# Unplugged.


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("No such device (it may have been disconnected)"),
        doubles.PanicException("ring"),
    ],
)
def test_unplugged_in_mid_run_after_all_was_handed_over(
    error: BaseException, monkeypatch: pytest.MonkeyPatch
) -> None:
    packet = doubles.nd_packet("Davis346Packet", doubles.nd_events((1, 2, 3, ON)))
    device = doubles.NdDevice(
        "inivation_davis346", [(doubles.nd_status(dropped=5, backlog=2), packet), error], backlog=2
    )
    feed = feed_of(monkeypatch, device)
    assert len(feed.read(0.0).events) == 1
    reasons = [damage.reason for _ in range(2) for damage in feed.read(0.0).damage]
    assert reasons[0].startswith("5 USB packets dropped")
    assert reasons[1].startswith("2 USB packets not delivered")
    for _ in range(2):
        with pytest.raises(SourceError, match=r"the camera failed .*2 USB packets .*: davis346"):
            feed.read(0.0)
    feed.close()


def test_dv_processing_unplugged_hands_over_what_it_has_first() -> None:
    camera = doubles.dv_camera((346, 260), [doubles.dv_store((1, 2, 3, ON))])
    feed = dv.DvFeed("davis346", camera, "davis346 by dv-processing", dv.SENSORS["davis346"])
    assert len(feed.read(0.1).events) == 1  # type: ignore[union-attr]
    with pytest.raises(SourceError, match="no longer connected"):
        feed.read(0.1)
    throws = doubles.dv_camera(
        (346, 260), [RuntimeError("f()\nRuntimeError: gone\nStacktrace:\n 0")]
    )
    feed = dv.DvFeed("davis346", throws, "davis346 by dv-processing", dv.SENSORS["davis346"])
    with pytest.raises(SourceError, match=r"failed \(RuntimeError: gone\)"):
        feed.read(0.1)


def test_close_ends_a_read_and_is_idempotent(monkeypatch: pytest.MonkeyPatch) -> None:
    device = doubles.NdDevice("inivation_davis346", [])
    feeds = [
        feed_of(monkeypatch, device),
        dv.DvFeed("c", doubles.dv_camera((1, 1), [], runs_on=True), "x", dv.SENSORS["davis346"]),
    ]
    for feed in feeds:
        got: list[Any] = []
        reader = threading.Thread(target=lambda feed=feed, got=got: got.append(feed.read(600.0)))
        reader.start()
        time.sleep(0.05)
        feed.close()
        feed.close()
        reader.join(60.0)
        assert got == [None]
    assert device.closed == 1


# Which camera.


def opened(uri: str, monkeypatch: pytest.MonkeyPatch, kind: str = "inivation_davis346") -> Any:
    seen: dict[str, Any] = {}
    device = doubles.NdDevice(kind, [])
    monkeypatch.setattr(neuromorphic_drivers, "open", doubles.nd_open(device, seen))
    feed = open_camera(uri)
    return feed, seen


def refusal(uri: str) -> str:
    with pytest.raises(SourceError) as error:
        open_camera(uri)
    assert error.value.exit_code == 3
    return str(error.value)


def test_the_camera_that_is_there_is_opened(listing: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    listing(neuromorphic=[["INIVATION_DAVIS346", "00000104"]], dv="hang")
    for uri in ("davis346", "camera", "davis346?serial=00000104"):
        feed, seen = opened(uri, monkeypatch)
        assert feed.name == uri
        assert seen["serial"] == "00000104"


def test_a_camera_of_another_sensor_than_stated_is_given_back(
    listing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(neuromorphic=[["INIVATION_DAVIS346", "00000104"]])
    device = doubles.NdDevice("inivation_davis346", [])
    monkeypatch.setattr(neuromorphic_drivers, "open", doubles.nd_open(device, {}))
    assert open_source("davis346", sensor=SensorSize(346, 260)).sensor == (346, 260)
    with pytest.raises(UsageError, match="is 346x260, not 128x128"):
        open_source("davis346", sensor=SensorSize(128, 128))


def test_of_two_cameras_the_right_one_is_taken(
    listing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(neuromorphic=[["PROPHESEE_EVK4", "A1"], ["INIVATION_DAVIS346", "B2"]])
    assert opened("davis346", monkeypatch)[1]["serial"] == "B2"
    assert opened("evk4", monkeypatch, "prophesee_evk4")[1]["serial"] == "A1"
    assert opened("camera?serial=A1", monkeypatch)[1]["serial"] == "A1"
    message = refusal("camera")
    assert message.startswith("2 cameras fit")
    assert "serial=A1" in message


def test_looking_for_a_camera_does_not_open_it(
    listing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    opens: list[Any] = []
    monkeypatch.setattr(neuromorphic_drivers, "open", lambda **options: opens.append(options))
    listing(neuromorphic=[["INIVATION_DAVIS346", "B2"]])
    find_camera("davis346")
    find_camera("camera?serial=B2")
    with pytest.raises(SourceError, match="no evk4 found, only another camera"):
        find_camera("evk4")
    with pytest.raises(UsageError):
        find_camera("davis346?size=2")
    assert not opens


def test_it_is_known_before_torch_is_imported(listing: Any) -> None:
    code = (
        "import sys\nfrom streamstop.errors import SourceError\n"
        "from streamstop.sources.live.cameras.open import find_camera\n"
        "try:\n    find_camera('davis346')\nexcept SourceError:\n    print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False\n"


def test_another_camera_than_asked_for(listing: Any) -> None:
    listing(neuromorphic=[["PROPHESEE_EVK4", "A1"]])
    message = refusal("davis346")
    assert message.startswith("no davis346 found, only another camera")
    assert "sees Prophesee EVK4 (serial A1)" in message
    assert "--source camera" in message


def test_a_davis_of_the_other_size_is_not_passed_off(
    listing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(dv=[["DAVIS", "77"]])
    camera = doubles.dv_camera((346, 260), [])
    monkeypatch.setattr(dv_processing.io.camera, "open", lambda serial: camera)
    assert open_camera("davis346").format == "davis346 by dv-processing"
    message = refusal("davis240")
    assert message.startswith("no davis240 could be opened")
    assert "346x260" in message


def test_a_backend_that_cannot_open_leaves_it_to_the_next(
    listing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing(neuromorphic=[["INIVATION_DAVIS346", "B2"]], dv=[["DAVIS", "B2"]])
    busy = doubles.PanicException("the device is already used by another program")
    monkeypatch.setattr(neuromorphic_drivers, "open", doubles.nd_open(busy, {}))
    monkeypatch.setattr(
        dv_processing.io.camera, "open", lambda serial: doubles.dv_camera((346, 260), [])
    )
    assert open_camera("davis346").format == "davis346 by dv-processing"
    listing(neuromorphic=[["INIVATION_DAVIS346", "B2"]])
    message = refusal("davis346")
    assert "already used by another program" in message
    assert "close other programs" in message


def test_a_camera_listed_with_an_error_is_not_opened(listing: Any) -> None:
    listing(neuromorphic=[["INIVATION_DAVIS346", None, "Resource busy"]])
    assert "which fails: Resource busy" in refusal("davis346")


def test_options_of_a_camera() -> None:
    for uri in ("davis346?serial=", "davis346?sensor=1x1", "camera?serial=1&serial=2"):
        with pytest.raises(UsageError):
            open_camera(uri)


# No camera, in time, whatever happens.


@pytest.mark.parametrize("name", CAMERAS)
def test_without_a_camera_it_says_what_was_tried_and_how_to_mend_it(
    name: str, listing: Any
) -> None:
    listing(neuromorphic="Other error")
    message = refusal(name)
    assert "neuromorphic-drivers" in message and "failed with RuntimeError: Other error" in message
    assert "dv-processing" in message and "sees no camera" in message
    assert "streamstop doctor" in message
    assert message.endswith(name)


@pytest.mark.parametrize(
    ("misdeed", "words"),
    [
        ("panic at the driver", "failed with PanicException: panic at the driver"),
        ("hang", "no answer within"),
        ("abort", "the end of its process (-6)"),
        ("print", "sees no camera"),
    ],
)
def test_a_backend_that_misbehaves_does_not_hold_the_next_one_up(
    misdeed: str, words: str, listing: Any
) -> None:
    listing(neuromorphic=misdeed)
    message = refusal("davis346").splitlines()
    assert words in next(line for line in message if line.startswith("  neuromorphic-drivers"))
    assert next(line for line in message if "dv-processing" in line).endswith("sees no camera")


def test_both_hang(listing: Any) -> None:
    listing(neuromorphic="hang", dv="hang")
    assert refusal("camera").count("no answer within") == 2


def test_an_import_that_takes_for_ever(listing: Any) -> None:
    listing(slow="dv_processing")
    assert "dv-processing 2" in refusal("camera")


def test_no_backend_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", absent)
    message = refusal("camera")
    assert message.count("not installed") == len(BACKENDS)
    assert "pip install 'streamstop[cameras]'" in message


def test_the_processes_that_looked_are_gone(listing: Any) -> None:
    listing(neuromorphic="hang", dv="hang")
    started: list[subprocess.Popen[str]] = []
    begins = subprocess.Popen

    def start(*args: Any, **options: Any) -> Any:
        started.append(begins(*args, **options))
        return started[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(subprocess, "Popen", start)
        list(discovery.discover(BACKENDS, timeout_s=0.5))
    assert len(started) == 2
    assert all(one.poll() is not None for one in started)


def test_the_real_backends_answer() -> None:
    answers = list(discovery.discover(BACKENDS, timeout_s=PATIENT_S))
    assert [one.backend for one in answers] == [one.NAME for one in BACKENDS]
    assert all(one.state in ("looked", "failed", "absent", "skipped") for one in answers)


class Hanging:
    """A process that never answers, and moves the clock while it is waited for."""

    stdin = stdout = stderr = None

    def __init__(self, watch: Watch) -> None:
        self.watch = watch

    def communicate(self, text: str, timeout: float) -> Any:
        self.watch.sleep(timeout)
        raise subprocess.TimeoutExpired("hanging", timeout)

    def kill(self) -> None:
        pass

    def wait(self, timeout: float) -> None:
        self.watch.sleep(timeout)
        raise subprocess.TimeoutExpired("hanging", timeout)


@pytest.mark.parametrize("start_s", [0.0, 0.5])
def test_backends_that_all_hang_take_less_than_two_seconds(
    start_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = Watch()

    def start(backend: Any) -> Hanging:
        if start_s:
            watch.sleep(start_s / 2)
        return Hanging(watch)

    monkeypatch.setattr(discovery, "_start", start)
    monkeypatch.setattr(discovery, "installed", lambda backend: "1.0")
    answers = list(discovery.discover((neuromorphic, dv), clock=watch))
    assert [one.state for one in answers] == ["silent", "silent"]
    assert watch.now_s - 100.0 < 2.0
    limits = [float(one.reason.split()[-2]) for one in answers]
    assert min(limits) >= discovery.LAST_TURN_S - 0.05, "each backend has its turn"


def test_aestream_without_polarity_and_time_is_skipped() -> None:
    aestream = pytest.importorskip("aestream")
    if hasattr(aestream, "USBInput"):  # a build with drivers
        assert not hasattr(aestream.USBInput, "load"), "it has learnt to deliver events: use it"
    assert any(
        one.state == "skipped" for one in discovery.discover(BACKENDS) if one.backend == "aestream"
    )


# On the bus.


def usb_device(root: Path, port: str, bus: int, number: int, **attributes: str) -> Path:
    """A device as the kernel shows it in /sys/bus/usb/devices, and its file in /dev."""
    folder = root / "sys" / "bus" / "usb" / "devices" / port
    folder.mkdir(parents=True)
    for name, value in {"busnum": str(bus), "devnum": str(number), **attributes}.items():
        (folder / name).write_text(value + "\n")
    node = root / "dev" / "bus" / "usb" / f"{bus:03d}" / f"{number:03d}"
    node.parent.mkdir(parents=True, exist_ok=True)
    node.touch()
    return node


@pytest.fixture
def bus(tmp_path: Path) -> Path:
    usb_device(tmp_path, "usb1", 1, 1, idVendor="1d6b", idProduct="0002", speed="480")
    usb_device(tmp_path, "1-3", 1, 9, idVendor="152a", idProduct="8750", product="Sound card")
    usb_device(
        tmp_path, "2-1", 2, 4, idVendor="152a", idProduct="841a", product="DAVIS346",
        serial="00000104", speed="5000",
    )  # fmt: skip
    usb_device(tmp_path, "1-1.2", 1, 12, idVendor="04b4", idProduct="00f5", speed="480")
    (tmp_path / "sys" / "bus" / "usb" / "devices" / "2-1:1.0").mkdir()
    return tmp_path


def test_cameras_on_the_bus_are_distinguished_from_other_devices_of_their_vendors(
    bus: Path,
) -> None:
    evk, davis = usb_cameras(bus / "sys", bus / "dev", lambda node: node.name == "004")
    assert (davis.ids, davis.product, davis.serial) == ("152a:841a", "DAVIS346", "00000104")
    assert davis.node == bus / "dev/bus/usb/002/004"
    assert (davis.open_to_us, davis.node_exists, davis.slow) == (True, True, False)
    assert (evk.ids, evk.open_to_us, evk.speed_mbps, evk.slow) == ("04b4:00f5", False, 480, True)


def test_a_camera_that_this_user_may_not_open(
    bus: Path, listing: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    cameras = usb_cameras(bus / "sys", bus / "dev", lambda node: False)
    monkeypatch.setattr("streamstop.sources.live.cameras.open.usb_cameras", lambda: cameras)
    listing(neuromorphic="Access denied (insufficient permissions)")
    message = refusal("davis346")
    assert "Access denied" in message
    assert "not open to this user" in message
    for kind in KINDS[:2]:
        assert kind.rule in message
    assert KINDS[2].rule not in message, "only for what is there"
    assert "sudo tee /etc/udev/rules.d/" in message


def test_the_rules_are_those_of_the_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "check_call", lambda command: 0)
    theirs = tmp_path / "theirs.rules"
    neuromorphic_drivers.install_udev_rules(
        theirs, skip_system_check=True, skip_system_warn=True, skip_root_check=True
    )
    assert theirs.read_text().splitlines() == [kind.rule for kind in KINDS]
    assert fix_permission_hint(KINDS)[1:-2] == tuple(kind.rule for kind in KINDS)


def test_no_sysfs_no_cameras(tmp_path: Path) -> None:
    assert usb_cameras(tmp_path / "sys", tmp_path / "dev") == ()


def test_dv_processing_writes_on_as_one() -> None:
    store = doubles.dv_store((1, 0, 0, True), (2, 0, 0, False))
    assert store.numpy()["polarity"].tolist() == [1, 0]
