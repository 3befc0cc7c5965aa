# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A node at work takes another policy, or says why not and goes on."""

import gc
import hashlib
import os
import select
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from policy_msgs.srv import LoadBundle
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import QoSProfile

from policy_inference.backends.registry import GROUP
from policy_inference.interfaces import Mode
from policy_inference.nodes.joint_policy_node import JointPolicyNode
from policy_inference.testing.bundles import register
from policy_inference.testing.chunk_bundles import write_chunk_bundle
from policy_inference.testing.process import children, open_descriptors

from .bundles import CONTRACT, write_bundle, write_version
from .harness import Robot, is_damp
from .opening_backends import Clinging, Counted, Slow
from .test_status import newest

pytestmark = pytest.mark.ros
LEAKED_BYTES = 5_000_000
OTHER_GAINS = {"stand.stiffness": 90.0}


@pytest.fixture(autouse=True)
def backends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Register the backends of these tests, all of which may go on at the end."""
    module = Slow.__module__
    names = ("Slow", "Clinging", "Counted", "Apart", "Stuck")
    register(tmp_path / "site", "opening", GROUP, {n.lower(): f"{module}:{n}" for n in names})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    folder = str(Path(__file__).parents[len(module.split(".")) - 1])
    monkeypatch.setenv("PYTHONPATH", f"{folder}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    for event in (Slow.began, Slow.goes_on, Slow.closed, Clinging.closing, Clinging.lets_go):
        event.clear()
    yield
    Slow.goes_on.set()
    Clinging.lets_go.set()


@pytest.fixture
def version(tmp_path: Path) -> Path:
    """Another version of the bundle, whose actions are twice as large."""
    terms = [{**CONTRACT["action"]["terms"][0], "scale": 0.2}]
    return write_version(tmp_path / "two_joints_1.3", "1.3.0", {"action.terms": terms})


@pytest.fixture
def ready(lockstep: Robot) -> Robot:
    """A robot that stands."""
    lockstep.tick()
    lockstep.request("stand")
    lockstep.until(lambda: lockstep.tick().mode == Mode.READY, "READY")
    return lockstep


def asked(robot: Robot, bundle: Path | str, backend: str = "") -> Any:
    """Ask for a load; return what will be the answer."""
    client = robot.node.create_client(LoadBundle, "joint_policy_node/load")
    robot.until(client.service_is_ready, "the service load")
    return client.call_async(LoadBundle.Request(bundle=str(bundle), backend=backend))


def load(robot: Robot, bundle: Path | str, backend: str = "") -> LoadBundle.Response:
    request = LoadBundle.Request(bundle=str(bundle), backend=backend)
    return robot.call(LoadBundle, "joint_policy_node/load", request)


def loaded(robot: Robot, bundle: Path | str, backend: str = "") -> None:
    response = load(robot, bundle, backend)
    assert response.success, response.message


def refusal(robot: Robot, bundle: Path | str, backend: str = "") -> str:
    """Ask for a load that must be refused; return the reason."""
    response = load(robot, bundle, backend)
    assert not response.success
    return str(response.message)


def is_opening(robot: Robot, bundle: Path) -> Any:
    """Ask for a load that opens slowly; return what will be the answer once it does."""
    answer = asked(robot, bundle, "slow")
    robot.until(Slow.began.is_set, "the beginning of opening")
    return answer


def assert_as_before(robot: Robot, bundle: Path, mode: Mode) -> None:
    """Check that the old policy goes on: same status, same command, and it can still run."""
    status = newest(robot)
    assert (status.bundle, status.bundle_version, status.mode) == (str(bundle), "1.2.3", mode)
    robot.request("damp")
    robot.runs()


@pytest.mark.slow
def test_every_one_of_a_thousand_requests_at_once_is_answered(
    lockstep: Robot, version: Path
) -> None:
    # The answers, too, wait for their reader: a client's own depth is its own business.
    client = lockstep.node.create_client(
        LoadBundle, "joint_policy_node/load", qos_profile=QoSProfile(depth=2000)
    )
    lockstep.until(client.service_is_ready, "the service load")
    request = LoadBundle.Request(bundle=str(version), backend="slow")
    answers = [client.call_async(request) for _ in range(1000)]
    lockstep.until(lambda: sum(answer.done() for answer in answers) == 999, "999 refusals")
    Slow.goes_on.set()
    loaded = lockstep.finishes(next(a for a in answers if not a.done()), "the load")
    assert loaded.success, loaded.message
    said = Counter(answer.result().message for answer in answers if answer.result() is not loaded)
    assert said == {"load refused: another load has not ended yet; wait for its answer": 999}


class TestLoad:
    def test_in_damp_the_new_policy_stands_up_and_runs(
        self, lockstep: Robot, version: Path
    ) -> None:
        lockstep.runs()
        lockstep.ang_vel = 0.5
        before = lockstep.tick().position[0]
        lockstep.request("damp")
        loaded(lockstep, version)
        lockstep.runs()
        lockstep.until(lambda: abs(lockstep.tick().position[0] - 0.2) > 1e-3, "an action")
        assert lockstep.commands[-1].position[0] != pytest.approx(before)

    def test_status_parameters_and_log_tell_the_new_one_at_once(
        self, active: Callable[..., JointPolicyNode], robot: Robot, version: Path
    ) -> None:
        node = active(use_sim_time=True, status_rate_hz=0.1)
        robot.is_met()
        robot.statuses.clear()
        response = load(robot, version)
        assert response.message.startswith(f"two_joints 1.3.0 ({version}) on onnx: onnxruntime")
        status = robot.reported(lambda status: status.bundle_version == "1.3.0", "the new version")
        assert status.bundle == str(version)
        assert (
            status.bundle_sha256
            == hashlib.sha256((version / "policy.yaml").read_bytes()).hexdigest()
        )
        assert (status.latency_max_s, status.mode) == (0.0, Mode.DAMP)
        assert node.get_parameter("bundle").value == str(version)
        assert node.get_parameter("backend").value == "onnx"
        robot.hears("two_joints 1.3.0")

    def test_status_tells_of_the_new_device_and_of_those_that_do_not_open(
        self, lockstep: Robot, version: Path
    ) -> None:
        loaded(lockstep, version, "rknn,counted")
        status = lockstep.reported(
            lambda status: {"device_load_percent"} & {entry.key for entry in status.telemetry},
            "telemetry of the new device",
        )
        assert status.fallback.startswith("rknn: ")
        lockstep.hears("no artifact for the backend 'rknn'")

    @pytest.mark.parametrize("trigger", ["timer", "joint_states"])
    def test_in_real_time(
        self, active: Callable[..., JointPolicyNode], robot: Robot, version: Path, trigger: str
    ) -> None:
        active(trigger=trigger)
        robot.until(lambda: robot.commands, "a command")
        loaded(robot, version)
        sequence = robot.commands[-1].sequence
        robot.until(lambda: robot.commands[-1].sequence > sequence, "another command")
        assert robot.reported(lambda status: status.bundle == str(version), "it").ticks > 0

    def test_while_the_robot_stands_the_command_does_not_change(
        self, ready: Robot, version: Path
    ) -> None:
        before = ready.tick()
        loaded(ready, version)
        after = ready.tick()
        assert after.sequence == before.sequence + 1
        for field in (
            "mode",
            "position",
            "velocity",
            "effort",
            "stiffness",
            "damping",
            "effort_limit",
        ):
            assert getattr(after, field) == getattr(before, field)
        ready.request("run")
        ready.until(lambda: ready.tick().stiffness[0] == 30.0, "the end of blending into RUN")

    def test_back_to_the_one_before(self, ready: Robot, version: Path, tmp_path: Path) -> None:
        first = write_version(tmp_path / "first", "1.2.4")
        for wanted in (first, version, first):
            loaded(ready, wanted)
            assert newest(ready).bundle == str(wanted)

    def test_in_a_process_of_its_own(self, ready: Robot, version: Path) -> None:
        loaded(ready, version, "apart")
        ready.tick()
        ready.request("run")
        ready.tick()
        status = newest(ready)
        assert (status.backend, status.mode) == ("apart", Mode.RUN)
        assert "child" in status.runs_on

    def test_limits_stay_tightened(
        self, active: Callable[..., JointPolicyNode], robot: Robot, version: Path
    ) -> None:
        active(use_sim_time=True, safety__effort_scale=0.5)
        robot.is_met()
        loaded(robot, version)
        robot.runs()
        assert list(robot.tick().effort_limit) == [10.0, 10.0]

    def test_options_wait_for_their_back_end(
        self, active: Callable[..., JointPolicyNode], robot: Robot, version: Path, bundle: Path
    ) -> None:
        active(use_sim_time=True, backend="rknn,apart", backend_options="apart.gain=3")
        robot.is_met()
        for backend, gain in (("onnx", ""), ("apart", "3")):
            loaded(robot, version, backend)
            assert newest(robot).runs_on.count("gain 3") == len(gain)


class TestMeanwhile:
    def test_everything_else_is_served(self, ready: Robot, version: Path) -> None:
        answer = is_opening(ready, version)
        before = newest(ready)
        ready.request("damp")
        assert is_damp(ready.tick())
        ready.request("stand")
        assert newest(ready).mode in (Mode.STAND, Mode.READY)
        assert newest(ready).bundle == before.bundle
        assert not answer.done()
        Slow.goes_on.set()
        assert ready.finishes(answer, "the answer").success
        assert newest(ready).ticks_missed == before.ticks_missed

    def test_emergency_stop_damps_at_once_and_stays(self, ready: Robot, version: Path) -> None:
        answer = is_opening(ready, version)
        ready.request("estop")
        assert is_damp(ready.tick())
        Slow.goes_on.set()
        assert ready.finishes(answer, "the answer").success
        assert is_damp(ready.tick())
        status = newest(ready)
        assert (status.bundle, status.latched) == (str(version), True)
        assert "estop: pressed by service" in status.reason
        assert "ask for reset first" in ready.ask("stand").message
        ready.request("reset")
        ready.request("stand")

    @pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
    def test_emergency_stop_at_another_time_stays(
        self, lockstep: Robot, version: Path, after: bool
    ) -> None:
        if not after:
            lockstep.request("estop")
        loaded(lockstep, version)
        if after:
            lockstep.request("estop")
        assert is_damp(lockstep.tick())
        assert "ask for reset first" in lockstep.ask("stand").message

    def test_policy_that_was_started_meanwhile_goes_on(
        self, ready: Robot, version: Path, bundle: Path
    ) -> None:
        answer = is_opening(ready, version)
        ready.tick()  # none came while the bundle was read
        ready.request("run")
        ready.tick()
        Slow.goes_on.set()
        response = ready.finishes(answer, "the answer")
        assert "the mode is RUN; ask for damp or stand first" in response.message
        ready.until(Slow.closed.is_set, "the new backend to be closed")
        assert ready.tick().mode == Mode.RUN
        assert newest(ready).bundle == str(bundle)

    def test_second_load_is_refused(self, ready: Robot, version: Path) -> None:
        answer = is_opening(ready, version)
        assert "another load has not ended yet" in refusal(ready, version)
        Slow.goes_on.set()
        assert ready.finishes(answer, "the answer").success

    def test_node_that_is_deactivated_answers_and_closes_what_opens(
        self, active: Callable[..., JointPolicyNode], robot: Robot, version: Path, bundle: Path
    ) -> None:
        node = active(use_sim_time=True)
        robot.is_met()
        answer = is_opening(robot, version)
        node.trigger_deactivate()
        response = robot.finishes(answer, "the answer")
        assert response.message == "load abandoned: the node stops"
        node.trigger_activate()
        robot.is_met()
        assert "another load has not ended yet" in refusal(robot, version)
        Slow.goes_on.set()
        robot.until(Slow.closed.is_set, "the new backend to be closed")
        assert_as_before(robot, bundle, Mode.DAMP)

    def test_node_that_is_shut_down_answers(
        self, active: Callable[..., JointPolicyNode], robot: Robot, version: Path
    ) -> None:
        node = active(use_sim_time=True)
        robot.is_met()
        answer = is_opening(robot, version)
        assert node.trigger_shutdown() is TransitionCallbackReturn.SUCCESS
        assert robot.finishes(answer, "the answer").message == "load abandoned: the node stops"


class TestRefused:
    @pytest.mark.parametrize(
        ("changes", "expected"),
        [
            (
                {"rate_hz": 100},
                "policy.yaml: rate_hz: expected 50, as the policy in use has it, found 100; clean "
                "the node up and configure it with this bundle",
            ),
            (
                {
                    "joints.names": ["left", "middle"],
                    "action.terms": [
                        {**CONTRACT["action"]["terms"][0], "joints": ["left", "middle"]}
                    ],
                },
                "joints.names: expected left, right, as",
            ),
            (
                {
                    "joints.names": ["right", "left"],
                    "action.terms": [
                        {**CONTRACT["action"]["terms"][0], "joints": ["right", "left"]}
                    ],
                },
                "found right, left;",
            ),
            (
                {
                    "observations.obs.terms": [
                        *CONTRACT["observations"]["obs"]["terms"],
                        {"term": "external", "topic": "scan", "size": 2},
                    ],
                    "model.inputs": {"obs": {"shape": [1, 17]}},
                },
                "imu/data, joint_states, scan (2 values)",
            ),
            ({"safety.on_fault": "torque_off"}, "safety.on_fault: expected damp"),
            (
                {"model.golden": None},
                "model.golden: expected a file of golden vectors, found nothing"
                "; `model_tools complete",
            ),
            ({"safety.max_tilt_rad": 0.5}, "max_tilt_rad: expected a value in (0, 0.5], found 0.8"),
        ],
        ids=["rate", "joints", "order", "inputs", "on_fault", "golden", "loosened"],
    )
    def test_contract_that_does_not_fit(
        self,
        active: Callable[..., JointPolicyNode],
        robot: Robot,
        tmp_path: Path,
        bundle: Path,
        changes: Mapping[str, object],
        expected: str,
    ) -> None:
        active(use_sim_time=True, safety__max_tilt_rad=0.8)
        robot.is_met()
        other = write_version(tmp_path / "other", "2.0.0", changes)
        assert expected in refusal(robot, other, "slow")
        assert not Slow.began.is_set()
        assert_as_before(robot, bundle, Mode.DAMP)

    def test_a_hostile_pattern_does_not_stop_a_robot_that_stands(
        self, ready: Robot, tmp_path: Path, bundle: Path
    ) -> None:
        """It held the interpreter for years: no commands, and two SIGTERMs were ignored."""
        other = write_version(
            tmp_path / "other",
            "2.0.0",
            {"joints.names": ["a" * 60, "b" * 60], "joints.damping": {"(a+)+$": 1.0}},
        )
        assert "expected exactly one key for" in refusal(ready, other)
        assert_as_before(ready, bundle, Mode.READY)

    def test_other_golden_rows(self, ready: Robot, tmp_path: Path, bundle: Path) -> None:
        wrong = write_version(tmp_path / "wrong", "2.0.0", wrong_by=0.3)
        text = refusal(ready, wrong)
        assert f"{wrong / 'policy.onnx'}: on onnx: mean absolute error: expected at most" in text
        assert_as_before(ready, bundle, Mode.READY)

    @pytest.mark.parametrize(
        ("spoil", "expected"),
        [
            (
                lambda folder: (folder / "policy.onnx").unlink(),
                "policy.onnx: expected the file that policy.yaml names, found nothing",
            ),
            (
                lambda folder: (folder / "policy.onnx").write_bytes(b"else"),
                "policy.onnx: expected sha",
            ),
            (
                lambda folder: (folder / "golden.npz").write_bytes(b"else"),
                "golden.npz: expected sha",
            ),
            (lambda folder: (folder / "policy.yaml").unlink(), "expected a file, found nothing"),
            (
                lambda folder: (folder / "policy.yaml").write_text("kind: [", "utf-8"),
                "expected YAML",
            ),
        ],
        ids=["no model", "other model", "other rows", "no contract", "no yaml"],
    )
    def test_folder_that_is_not_whole(
        self,
        ready: Robot,
        version: Path,
        bundle: Path,
        spoil: Callable[[Path], object],
        expected: str,
    ) -> None:
        spoil(version)
        assert expected in refusal(ready, version)
        assert_as_before(ready, bundle, Mode.READY)

    def test_chunk_policy(self, ready: Robot, tmp_path: Path, bundle: Path) -> None:
        assert "kind: expected joint, found chunk; act_policy_node runs this policy" in refusal(
            ready, write_chunk_bundle(tmp_path / "arm")
        )
        assert_as_before(ready, bundle, Mode.READY)

    def test_unknown_bundle_or_back_end(self, ready: Robot, version: Path, bundle: Path) -> None:
        assert "expected a bundle folder or one of the installed" in refusal(ready, "nobody_walks")
        assert "bundle: expected a folder or the name" in refusal(ready, "")
        assert "found 'magic'" in refusal(ready, version, "magic")
        assert "no artifact for the backend 'rknn'" in refusal(ready, version, "rknn")
        assert_as_before(ready, bundle, Mode.READY)

    def test_running_policy(self, lockstep: Robot, version: Path) -> None:
        lockstep.runs()
        assert refusal(lockstep, version) == (
            "load refused: the mode is RUN; ask for damp or stand first"
        )
        assert lockstep.tick().mode == Mode.RUN

    def test_other_gains_while_the_robot_stands(
        self, ready: Robot, tmp_path: Path, bundle: Path
    ) -> None:
        other = write_version(tmp_path / "other", "2.0.0", OTHER_GAINS)
        assert "stand.stiffness is another; ask for damp first" in refusal(ready, other, "slow")
        assert not Slow.began.is_set()
        assert_as_before(ready, bundle, Mode.READY)
        ready.request("damp")
        loaded(ready, other)

    def test_output_that_cannot_express_it(
        self, active: Callable[..., JointPolicyNode], robot: Robot, tmp_path: Path
    ) -> None:
        arm = {"safety.on_fault": "hold_measured"}
        active(
            bundle=str(write_bundle(tmp_path / "arm", arm)),
            output="position_array",
            use_sim_time=True,
        )
        terms = [{**CONTRACT["action"]["terms"][0], "kind": "velocity", "offset": 0.0}]
        other = write_version(tmp_path / "other", "2.0.0", {**arm, "action.terms": terms})
        assert "'position_array' carries positions only" in refusal(robot, other)

    def test_node_that_is_not_active(self, stage: Any, bundle: Path, version: Path) -> None:
        node = stage.node(bundle=str(bundle))
        for transition in (None, node.trigger_configure):
            if transition:
                transition()
            assert "the node is not active; activate it first" in refusal(stage.robot, version)

    def test_process_that_is_killed_while_it_opens(
        self,
        active: Callable[..., JointPolicyNode],
        robot: Robot,
        version: Path,
        bundle: Path,
        tmp_path: Path,
    ) -> None:
        told = tmp_path / "pid"
        os.mkfifo(told)
        active(use_sim_time=True, backend="onnx,stuck", backend_options=f"stuck.pid={told}")
        robot.is_met()
        answer = asked(robot, version, "stuck")
        with os.fdopen(os.open(told, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as pid:
            robot.until(lambda: select.select([pid], [], [], 0)[0], "a process that opens")
            os.kill(int(pid.read()), signal.SIGKILL)
        response = robot.finishes(answer, "the answer")
        assert "stuck: the process of the runtime ended with status -9 during opening" in (
            response.message
        )
        assert_as_before(robot, bundle, Mode.DAMP)


def test_runtime_that_hangs_when_it_is_closed_hangs_no_caller(
    active: Callable[..., JointPolicyNode], robot: Robot, version: Path
) -> None:
    node = active(use_sim_time=True, backend="clinging")
    robot.is_met()
    loaded(robot, version, "onnx")
    robot.until(Clinging.closing.is_set, "the closing of the old backend")
    robot.runs()
    assert node.left_behind
    Clinging.lets_go.set()
    robot.until(lambda: not node.left_behind, "the end of closing")


def resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text("utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.slow
@pytest.mark.parametrize("backend", ["counted", "apart"])
def test_twenty_loads_leave_nothing_behind(
    active: Callable[..., JointPolicyNode],
    robot: Robot,
    version: Path,
    tmp_path: Path,
    backend: str,
) -> None:
    others = children()
    node = active(use_sim_time=True, backend=backend)
    robot.is_met()
    first = write_version(tmp_path / "first", "1.2.4")

    def load_each(rounds: int) -> tuple[Counter[str], int, int]:
        for _ in range(rounds):
            for wanted in (version, first):
                loaded(robot, wanted)
        robot.until(lambda: not node.left_behind, "the end of closing")
        for heard in (robot.statuses, robot.diagnostics, robot.commands):
            heard.clear()  # grows with time, and is the test's own
        gc.collect()
        return open_descriptors(), threading.active_count(), resident_bytes()

    descriptors, threads, resident = load_each(8)
    now_open, now_threads, now_resident = load_each(10)
    passing = ("/proc", "/dev/shm/fastrtps")
    assert not [kind for kind in now_open - descriptors if not kind.startswith(passing)]
    assert now_threads == threads
    assert Counted.open_now == (1 if backend == "counted" else 0)
    assert len(children() - others) == (1 if backend == "apart" else 0)
    assert now_resident - resident < LEAKED_BYTES
