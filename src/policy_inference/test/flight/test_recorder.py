# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The recorder: what makes it write, what a recording has, and what it says where it cannot."""

import errno
import os
import tempfile
import threading
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pytest

from policy_core.errors import RefusedError
from policy_core.guard.bounds import Rule
from policy_core.interfaces import Mode
from policy_inference.flight import recorder
from policy_inference.flight.recorder import News, RecordingFolder, RecordingWriter, recording_name
from policy_inference.flight.recording import Recording, free_place
from policy_inference.flight.ring import FlightTick
from testkit.disks import small_disk
from testkit.kernel.robots import BOTH, PERIOD_NS
from testkit.waiting import until
from testkit.wording import check_wording, refusal

from .flying import RING_SIZE, STAMP_OFFSET_NS, TYPES, Flyer, Recorded, hidden, read_flight, visible
from .stalling import stalled_disk

NAN = (float("nan"), 0.0, 0.0)
STILL = (0.0, 0.0, 0.0)
BEFORE, AFTER = 50, 10
"""Ticks of `Recorded` before and after a cause."""
NOBODY = 65534


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 4096) as folder:
        yield folder


@pytest.fixture
def flown_robot(tmp_path: Path) -> Iterator[Recorded]:
    robot = Recorded(tmp_path)
    robot.run(60)
    yield robot
    robot.recorder.stop()


def causes(paths: list[Path]) -> list[str]:
    return [path.name.split("Z-")[1] for path in paths]


def stamps(path: Path) -> list[int]:
    return [log_ns for log_ns, _, _ in read_flight(path)["policy_tick"]]


def begin_of(robot: Recorded) -> int:
    """Return the number of the tick at which a recording begins that is caused now.

    It has a state of the controller before it, and `BEFORE` ticks follow, or a few more.
    """
    wanted = robot.ring.end - BEFORE
    first = robot.ring.first_to_go_on(wanted)
    assert wanted - BEFORE // 4 < first <= wanted
    return first


def stamp_ns(robot: Recorded, number: int) -> int:
    return robot.now_ns + STAMP_OFFSET_NS - (robot.ring.end - 1 - number) * PERIOD_NS


def test_nothing_of_the_ring_is_missing_in_the_file(flown_robot: Recorded) -> None:
    flown_robot.recorder.request()
    ticks, lost = flown_robot.ring.copies(begin_of(flown_robot), flown_robot.ring.end)
    (path,) = flown_robot.recordings()
    assert not lost
    found = read_flight(path)
    for topic, place in (("joint_states", 0), ("data", 1)):
        assert [(log_ns, data) for log_ns, _, data in found[topic]] == [
            (tick.moment.stamp_ns, tick.moment.wire[place]) for tick in ticks
        ]
    for (_, message, _), tick in zip(found["policy_tick"], ticks, strict=True):
        assert (message.tick, message.time_ns) == (tick.moment.tick, tick.moment.now_ns)
        assert message.mode == tick.moment.mode
        np.testing.assert_array_equal(message.state, tick.state)
        ((given,), (answer,)) = message.inputs, message.outputs
        for tensor, array in ((given, tick.inputs["obs"]), (answer, tick.outputs["actions"])):
            values = np.frombuffer(tensor.data.tobytes(), tensor.dtype).reshape(tensor.shape)
            np.testing.assert_array_equal(values, array)
        np.testing.assert_array_equal(message.target, tick.target)
        assert message.ages_s.tolist() == [0.0, 0.0, np.inf]
    for (_, message, _), tick in zip(found["joint_command"], ticks, strict=True):
        assert message.sequence == tick.moment.sequence
        assert tick.command is not None
        np.testing.assert_array_equal(message.stiffness, tick.command[3])


def test_reason_is_given_where_it_changes(flown_robot: Recorded) -> None:
    flown_robot.controller.damp("tired")
    flown_robot.tick()
    flown_robot.tick()
    flown_robot.recorder.request()
    (path,) = flown_robot.recordings()
    reasons = [tick.reason for _, tick, _ in read_flight(path)["policy_tick"]]
    assert reasons[0]
    assert [reason for reason in reasons if reason] == [reasons[0], "tired"]


def test_hold_that_ends_in_damp_is_one_recording_named_by_the_fault_with_both_reasons(
    flown_robot: Recorded,
) -> None:
    for _ in range(15):
        flown_robot.tick(silent=BOTH)
    assert flown_robot.controller.mode is Mode.DAMP
    (path,) = flown_robot.recordings()
    assert causes([path]) == ["held_too_long"]
    ((_, info, _),) = read_flight(path)["flight_info"]
    check_wording(info.reason)


def test_sensor_that_stutters_is_recorded_once_per_length_of_the_ring(
    flown_robot: Recorded,
) -> None:
    for _ in range(2 * BEFORE // 10):
        for _ in range(4):
            flown_robot.tick(silent=BOTH)
        for _ in range(6):
            flown_robot.tick()
    holds = [reason for mode, reason, _ in flown_robot.controller.edges if mode is Mode.HOLD]
    assert len(holds) == 10
    assert [word[:11] for word in causes(flown_robot.recordings())] == ["stale_state"] * 2


def test_fault_that_no_tick_ends_is_recorded(flown_robot: Recorded) -> None:
    flown_robot.controller.fault(Rule.INTERNAL, "ValueError: a test")
    flown_robot.recorder.watch()
    (path,) = flown_robot.recordings()
    assert causes([path]) == ["internal"]


def test_ticks_that_a_slow_disk_loses_are_counted_and_said(tmp_path: Path) -> None:
    flyer, folder, news = Flyer(), tmp_path / "flights", News()
    flyer.run(40)
    recordings = RecordingFolder(folder, 0.0, lambda: TYPES, flyer.flight(tmp_path / "bundle"))
    writer = RecordingWriter(flyer.ring, recordings, news)
    place = recordings.place("run")
    writer.begin_run(place, "a test", flyer.ring.end - 10)
    for _ in range(RING_SIZE):
        flyer.tick()
    # No thread has had the time to look until now.
    writer.end()
    writer.work()
    assert writer.dropped == 10
    assert len(stamps(place)) == RING_SIZE
    is_error, text = news[-1]
    assert is_error
    assert str(place) in text
    check_wording(text.replace(str(place), "PLACE"))


def test_standing_clock_does_not_keep_a_fault_from_being_recorded(
    flown_robot: Recorded, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Simulated time may stand still after a fault; the steady clock goes on."""
    monkeypatch.setattr(recorder, "_STILL_S", 0.1)
    flown_robot.tick(joint_vel=NAN)
    until(lambda: visible(flown_robot.folder))
    assert causes(visible(flown_robot.folder)) == ["not_finite"]


def test_requests_within_a_second_get_places_of_their_own(flown_robot: Recorded) -> None:
    places = []
    for _ in range(3):
        places.append(flown_robot.recorder.request())
        until(lambda: flown_robot.recorder.writer.requested is None)
    assert flown_robot.recordings() == sorted(places)
    assert stamps(places[0]) == stamps(places[1])


@pytest.mark.parametrize(
    "calls", ["end_run", "begin_run begin_run", "stop request", "stop start request"]
)
def test_request_that_makes_no_sense_is_refused(flown_robot: Recorded, calls: str) -> None:
    *before, last = calls.split()
    for call in before:
        getattr(flown_robot.recorder, call)()
    with refusal(RefusedError):
        getattr(flown_robot.recorder, last)()


class TestSlowDisk:
    def test_fault_goes_before_what_was_asked_for_and_one_request_waits(
        self, flown_robot: Recorded
    ) -> None:
        with stalled_disk(flown_robot.folder) as disk:
            disk.stall()
            run = flown_robot.recorder.begin_run()
            until(disk.waits.is_set)
            request = flown_robot.recorder.request()
            for _ in range(400):
                with pytest.raises(RefusedError, match=request.name):
                    flown_robot.recorder.request()
            flown_robot.tick(joint_vel=NAN)
            first_ns = stamp_ns(flown_robot, begin_of(flown_robot))
            for _ in range(AFTER):
                flown_robot.tick(joint_vel=STILL)
        written = flown_robot.recordings()
        lines = [text for _, text in flown_robot.recorder.news if "ticks" in text]
        fault, asked, whole = sorted(
            written, key=lambda path: next(i for i, line in enumerate(lines) if f"{path} " in line)
        )
        assert causes([fault]) == ["not_finite"]
        assert (asked, whole) == (request, run)
        assert stamps(fault)[0] == first_ns
        assert flown_robot.recorder.writer.dropped == 0

    def test_fault_that_falls_due_while_another_recording_is_written_is_copied_at_once(
        self, flown_robot: Recorded, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        wrote, goes_on, real = threading.Event(), threading.Event(), Recording.add

        def add(recording: Recording, ticks: Iterable[FlightTick]) -> None:
            def slowly() -> Iterator[FlightTick]:
                for i, tick in enumerate(ticks):
                    if i == BEFORE // 2:
                        wrote.set()
                        assert goes_on.wait(15.0)
                    while i == BEFORE - 1 and flown_robot.ring.end < overrun:
                        flown_robot.tick(joint_vel=STILL)
                    yield tick

            real(recording, slowly())

        overrun = flown_robot.ring.end + 2 * flown_robot.ring.size
        monkeypatch.setattr(Recording, "add", add)
        flown_robot.recorder.request()
        assert wrote.wait(15.0)
        flown_robot.tick(joint_vel=NAN)
        ticks = flown_robot.ring.end - begin_of(flown_robot) + AFTER
        for _ in range(AFTER):
            flown_robot.tick(joint_vel=STILL)
        goes_on.set()
        until(lambda: flown_robot.recorder.writer.requested is None)
        (fault,) = (path for path in flown_robot.recordings() if causes([path]) == ["not_finite"])
        assert len(stamps(fault)) == ticks
        assert flown_robot.recorder.writer.dropped == 0


class TestTrouble:
    def test_too_little_free_space_refuses_and_says_how_much(self, tmp_path: Path) -> None:
        robot = Recorded(tmp_path, min_free_mb=1e12)
        until(lambda: robot.recorder.problem)
        robot.run(10)
        with refusal(RefusedError):
            robot.recorder.request()
        robot.tick(joint_vel=NAN)
        assert robot.recordings() == []
        is_error, text = robot.recorder.news[-1]
        assert is_error
        check_wording(robot.recorder.problem, text)

    def test_full_disk_leaves_nothing_and_is_reported(
        self, tmp_path: Path, full_disk: Path
    ) -> None:
        class Talker(Recorded):
            def wire(self) -> tuple[bytes | None, ...]:
                return os.urandom(60_000), None

        filler = full_disk / "filler"
        filler.write_bytes(bytes(3_000_000))
        robot = Talker(tmp_path, folder=full_disk)
        robot.run(50)
        robot.tick(joint_vel=NAN)
        robot.recorder.stop()
        assert [*full_disk.iterdir()] == [filler]
        assert os.strerror(errno.ENOSPC) in robot.recorder.problem
        assert (True, robot.recorder.problem) in robot.recorder.news

    def test_run_ends_whole_before_the_disk_is_full(self, tmp_path: Path, full_disk: Path) -> None:
        class Talker(Recorded):
            def wire(self) -> tuple[bytes | None, ...]:
                return os.urandom(20_000), None

        robot = Talker(tmp_path, folder=full_disk, min_free_mb=2.0)
        robot.run(5)
        place = robot.recorder.begin_run()
        until(lambda: robot.tick() and not robot.recorder.writer.recording_run)
        robot.recorder.stop()
        assert str(place) in robot.recorder.problem
        assert len(stamps(place)) > 5

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
    def test_folder_of_another_user_is_reported_before_a_fault(self, tmp_path: Path) -> None:
        flyer = Flyer()
        flight = flyer.flight(tmp_path / "bundle")
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            folder.chmod(0o755)
            for wanted in (folder, folder / "new"):
                os.seteuid(NOBODY)
                try:
                    problem = RecordingFolder(wanted, 0.0, lambda: TYPES, flight).problem()
                finally:
                    os.seteuid(0)
                assert problem.startswith(f"{wanted}: ")
                check_wording(problem.removeprefix(str(folder)))


class TestFiles:
    def test_nothing_is_overwritten(self, tmp_path: Path) -> None:
        flyer, place = Flyer(), tmp_path / "there"
        flyer.run(3)
        place.mkdir()
        (place / "mine").write_text("mine", "utf-8")
        with Recording(place, TYPES, flyer.flight(tmp_path / "bundle"), "a test") as recording:
            recording.add(flyer.ring.copies(0, 3)[0])
        assert recording.place == tmp_path / "there-2"
        assert len(stamps(recording.place)) == 3
        assert [path.name for path in place.iterdir()] == ["mine"]
        assert free_place(tmp_path, "there") == tmp_path / "there-3"

    def test_recording_that_grows_is_hidden_and_gone_after_an_error(self, tmp_path: Path) -> None:
        flyer = Flyer()
        flyer.run(3)
        flight, folder = flyer.flight(tmp_path / "bundle"), tmp_path / "flights"

        def write() -> None:
            with Recording(folder / "place", TYPES, flight, "a test") as recording:
                recording.add(flyer.ring.copies(0, 3)[0])
                assert visible(folder) == []
                (growing,) = hidden(folder)
                assert growing.name.startswith(".unfinished-place-")
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            write()
        assert [*folder.iterdir()] == []

    def test_names_of_bundles_are_no_paths(self, tmp_path: Path) -> None:
        assert "/" not in recording_name("../../etc/passwd", "estop")
        assert not recording_name(".hidden", "estop").startswith(".")
