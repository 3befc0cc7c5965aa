# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node at work takes another policy, or says why not and goes on."""

import gc
import hashlib
import threading
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from policy_core.interfaces import Mode
from policy_inference.testing.process import children, open_descriptors
from testkit.wording import check_wording

from .bundles import write_version
from .harness import Activate, Robot, is_damp
from .kinds import CHUNK, IN_USE, JOINT, SET, Kind
from .opening_backends import Clinging, Counted, Slow, register_opening

pytestmark = pytest.mark.ros

ACCEPTED = [pytest.param(kind, marks=pytest.mark.acceptance) for kind in (CHUNK, SET)]
LEAKED_BYTES = 5_000_000
COMMAND = ("mode", "position", "velocity", "effort", "stiffness", "damping", "effort_limit")


@pytest.fixture(autouse=True)
def opening_backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the back ends of these tests, all of which may go on at the end."""
    register_opening(tmp_path / "site", monkeypatch)
    for event in (Slow.began, Slow.goes_on, Slow.closed, Clinging.closing, Clinging.lets_go):
        event.clear()
    yield
    Slow.goes_on.set()
    Clinging.lets_go.set()


@pytest.fixture
def next_version(tmp_path: Path, kind: Kind) -> Path:
    return kind.write(tmp_path / "next", "1.3.0", moved=True)


@pytest.fixture
def standing_robot(lockstep: Robot) -> Robot:
    lockstep.stands()
    return lockstep


def opens_slowly(robot: Robot, bundle: Path) -> Any:
    """Ask for a load that opens slowly; return what will be the answer once it does."""
    answer = robot.asks_to_load(bundle, "slow")
    robot.until(Slow.began.is_set, "the beginning of opening")
    return answer


def assert_as_before(robot: Robot, bundle: Path, mode: Mode) -> None:
    """Check that the old policy goes on: same status, and it can still run."""
    status = robot.newest()
    assert (status.bundle, status.bundle_version, status.mode) == (str(bundle), IN_USE, mode)
    robot.request("damp")
    robot.runs()


def range_of_commands(robot: Robot) -> tuple[float, float]:
    found = [robot.tick().position[0] for _ in range(10)]
    return min(found), max(found)


class TestLoad:
    @pytest.mark.parametrize("kind", [JOINT, *ACCEPTED], ids=str)
    def test_while_the_robot_stands_the_command_does_not_change_and_the_new_policy_runs(
        self, lockstep: Robot, next_version: Path
    ) -> None:
        lockstep.ang_vel = 0.5
        lockstep.runs()
        low, high = range_of_commands(lockstep)
        lockstep.request("damp")
        lockstep.stands()
        before = lockstep.tick()
        lockstep.loads(next_version)
        after = lockstep.tick()
        assert after.sequence == before.sequence + 1
        for field in COMMAND:
            assert getattr(after, field) == getattr(before, field)
        lockstep.runs()
        new_low, new_high = range_of_commands(lockstep)
        assert new_high < low or new_low > high

    def test_status_parameters_and_log_tell_the_new_one_at_once(
        self, activate: Activate, partner: Robot, next_version: Path
    ) -> None:
        node = activate(use_sim_time=True, status_rate_hz=0.1, safety__max_tilt_rad=0.8)
        partner.is_met()
        partner.statuses.clear()
        said = partner.loads(next_version)
        status = partner.reported(
            lambda status: status.bundle_version == "1.3.0", "the new version"
        )
        assert status.bundle == str(next_version)
        contract = (next_version / "policy.yaml").read_bytes()
        assert status.bundle_sha256 == hashlib.sha256(contract).hexdigest()
        assert (status.latency_max_s, status.mode) == (0.0, Mode.DAMP)
        assert node.get_parameter("bundle").value == str(next_version)
        assert node.get_parameter("backend").value == "onnx"
        assert node.policy.limits.max_tilt_rad == 0.8
        assert said in partner.hears(said)
        check_wording(said)


class TestMeanwhile:
    def test_everything_else_is_served(self, standing_robot: Robot, next_version: Path) -> None:
        answer = opens_slowly(standing_robot, next_version)
        before = standing_robot.newest()
        standing_robot.request("damp")
        assert is_damp(standing_robot.tick())
        standing_robot.request("stand")
        assert standing_robot.newest().mode in (Mode.STAND, Mode.READY)
        assert standing_robot.newest().bundle == before.bundle
        standing_robot.load_refusal(next_version)
        assert not answer.done()
        Slow.goes_on.set()
        assert standing_robot.finishes(answer, "the answer").success
        assert standing_robot.newest().ticks_missed == before.ticks_missed

    def test_emergency_stop_damps_at_once_and_stays(
        self, standing_robot: Robot, next_version: Path
    ) -> None:
        answer = opens_slowly(standing_robot, next_version)
        standing_robot.request("estop")
        assert is_damp(standing_robot.tick())
        Slow.goes_on.set()
        assert standing_robot.finishes(answer, "the answer").success
        assert is_damp(standing_robot.tick())
        status = standing_robot.newest()
        assert (status.bundle, status.latched) == (str(next_version), True)
        assert status.reason.startswith("estop: ")
        standing_robot.refusal("stand")
        standing_robot.request("reset")
        standing_robot.request("stand")

    @pytest.mark.acceptance
    def test_policy_that_was_started_meanwhile_goes_on(
        self, standing_robot: Robot, next_version: Path, bundle_in_use: Path
    ) -> None:
        answer = opens_slowly(standing_robot, next_version)
        standing_robot.tick()  # none came while the bundle was read
        standing_robot.request("run")
        standing_robot.tick()
        Slow.goes_on.set()
        check_wording(standing_robot.finishes(answer, "the answer").message)
        standing_robot.until(Slow.closed.is_set, "the new backend to be closed")
        assert standing_robot.tick().mode == Mode.RUN
        assert standing_robot.newest().bundle == str(bundle_in_use)

    @pytest.mark.acceptance
    def test_node_that_is_deactivated_answers_and_closes_what_opens(
        self, lockstep_node: Any, lockstep: Robot, next_version: Path, bundle_in_use: Path
    ) -> None:
        answer = opens_slowly(lockstep, next_version)
        lockstep_node.trigger_deactivate()
        check_wording(lockstep.finishes(answer, "the answer").message)
        lockstep_node.trigger_activate()
        lockstep.is_met()
        lockstep.load_refusal(next_version)
        Slow.goes_on.set()
        lockstep.until(Slow.closed.is_set, "the new backend to be closed")
        assert_as_before(lockstep, bundle_in_use, Mode.DAMP)


class TestRefused:
    def test_contract_that_does_not_fit(
        self, standing_robot: Robot, tmp_path: Path, bundle_in_use: Path, kind: Kind
    ) -> None:
        """Which contracts fit: `kinds/test_replacing.py`."""
        other = kind.write(tmp_path / "other", "2.0.0", {"rate_hz": 100})
        standing_robot.load_refusal(other, "slow")
        assert not Slow.began.is_set()
        assert_as_before(standing_robot, bundle_in_use, Mode.READY)

    @pytest.mark.parametrize("kind", [SET], ids=str)
    def test_other_golden_rows(
        self, standing_robot: Robot, tmp_path: Path, bundle_in_use: Path, kind: Kind
    ) -> None:
        standing_robot.load_refusal(kind.write(tmp_path / "wrong", "2.0.0", wrong=True))
        assert_as_before(standing_robot, bundle_in_use, Mode.READY)


def test_runtime_that_hangs_when_it_is_closed_hangs_no_caller(
    activate: Activate, partner: Robot, next_version: Path
) -> None:
    node = activate(use_sim_time=True, backend="clinging")
    partner.is_met()
    partner.loads(next_version, "onnx")
    partner.until(Clinging.closing.is_set, "the closing of the old backend")
    partner.runs()
    assert node.left_behind
    Clinging.lets_go.set()
    partner.until(lambda: not node.left_behind, "the end of closing")


@pytest.mark.acceptance
@pytest.mark.parametrize("backend", ["counted", "apart"])
def test_twenty_loads_leave_nothing_behind(
    activate: Activate, partner: Robot, next_version: Path, tmp_path: Path, backend: str
) -> None:
    others = children()
    node = activate(use_sim_time=True, backend=backend)
    partner.is_met()
    first = write_version(tmp_path / "first", "1.2.4")

    def load_each(rounds: int) -> tuple[Counter[str], int, int]:
        for _ in range(rounds):
            for wanted in (next_version, first):
                partner.loads(wanted)
        partner.until(lambda: not node.left_behind, "the end of closing")
        for heard in (partner.statuses, partner.diagnostics, partner.commands):
            heard.clear()  # grows with time, and is the test's own
        gc.collect()
        return open_descriptors(), threading.active_count(), psutil.Process().memory_info().rss

    descriptors, threads, resident = load_each(8)
    now_open, now_threads, now_resident = load_each(10)
    passing = ("/proc", "/dev/shm/fastrtps")
    assert not [kind for kind in now_open - descriptors if not kind.startswith(passing)]
    assert now_threads <= threads
    assert Counted.open_now == (1 if backend == "counted" else 0)
    assert len(children() - others) == (1 if backend == "apart" else 0)
    assert now_resident - resident < LEAKED_BYTES
