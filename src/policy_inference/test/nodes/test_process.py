# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `joint_policy_node` as a process: how it ends, and that it does not begin badly."""

import ctypes
import os
import resource
import select
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from policy_msgs.srv import LoadBundle
from rclpy.qos import QoSProfile
from std_srvs.srv import Trigger

from policy_inference.backends.registry import GROUP
from policy_inference.interfaces import Mode
from policy_inference.testing.bundles import register

from .bundles import write_bundle, write_version
from .harness import DEADLINE_S, Robot, is_damp

pytestmark = pytest.mark.ros
Process = subprocess.Popen[str]
Stuck = Callable[..., tuple[Path, Path]]
_PR_CAPBSET_DROP, _CAP_IPC_LOCK, _CAP_SYS_NICE = 24, 14, 23
"""Of prctl(2) and capabilities(7)."""
STUCK = """
import os
import time
from pathlib import Path
from policy_inference.backends.onnx import OnnxBackend

class Stuck(OnnxBackend):
    name, builds_from, holds_gil = "stuck", "onnx", {apart}

    def _open(self, file):
        Path({began!r}).write_text(str(os.getpid()), "utf-8")
        time.sleep(1e6)
"""

HANGING = """
import threading
from pathlib import Path
from policy_inference.backends.onnx import OnnxBackend
from {module} import *

class Hanging(OnnxBackend):
    name, builds_from, holds_gil = "hanging", "onnx", False

def hang(*_):
    Path({hangs!r}).touch()
    threading.Event().wait()

{method} = hang
"""


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Start the command with parameters as given on a command line."""
    running: list[Process] = []

    def run(*parameters: str, **options: Any) -> Process:
        words = [word for parameter in parameters for word in ("-p", parameter)]
        process = subprocess.Popen(
            ["joint_policy_node", "--ros-args", *words],
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            **options,
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def stuck(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stuck:
    """Register a backend that never opens.

    It writes the number of its process into a pipe; that and the temporary folder are returned.
    """

    def install(*, apart: bool) -> tuple[Path, Path]:
        site, began, folders = (tmp_path / name for name in ("site", "began", "folders"))
        folders.mkdir()
        register(site, "stuck", GROUP, {"stuck": "stuck:Stuck"})
        (site / "stuck.py").write_text(STUCK.format(apart=apart, began=str(began)), "utf-8")
        monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        monkeypatch.setenv("TMPDIR", str(folders))
        os.mkfifo(began)
        return began, folders

    return install


def is_opening(robot: Robot, began: Path) -> int:
    """Spin until the backend opens; return a descriptor of the process that does."""
    with os.fdopen(os.open(began, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8") as told:
        robot.until(lambda: select.select([told], [], [], 0)[0], "a backend that opens")
        return os.pidfd_open(int(told.read()))


def ended(process: Process) -> tuple[int, str]:
    """Wait for the end of a process; return its exit status and what it printed."""
    output, _ = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output


@pytest.mark.parametrize("limit_kib", [400_000, 800_000])
def test_limit_of_memory_that_is_too_low_is_refused_before_the_middleware_starts(
    start: Callable[..., Process], limit_kib: int
) -> None:
    limit = 1024 * limit_kib
    process = start(preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)))
    status, output = ended(process)
    assert status == 2
    assert "virtual memory: expected at least 1024 MiB" in output
    assert "Traceback" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_ends_a_running_policy_with_the_fault_command(
    start: Callable[..., Process], robot: Robot, bundle: Path, number: signal.Signals
) -> None:
    process = start(f"bundle:={bundle}", "use_sim_time:=true")
    robot.runs()
    last = robot.commands[-1].sequence
    process.send_signal(number)
    status, output = ended(process)
    robot.until(lambda: robot.commands[-1].sequence > last, "the fault command")
    assert status == 0
    assert is_damp(robot.commands[-1])
    assert "Traceback" not in output
    assert "[ERROR]" not in output


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_that_the_parent_process_blocked_end_the_node(
    start: Callable[..., Process], robot: Robot, bundle: Path, number: signal.Signals
) -> None:
    def block() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())

    process = start(f"bundle:={bundle}", "use_sim_time:=true", preexec_fn=block)
    robot.runs()
    process.send_signal(number)
    assert process.wait(DEADLINE_S) == 0
    robot.until(lambda: is_damp(robot.commands[-1]), "the fault command")


def test_log_that_is_not_read_stops_nothing(
    start: Callable[..., Process], robot: Robot, bundle: Path
) -> None:
    process = start(f"bundle:={bundle}", "use_sim_time:=true")
    robot.runs()
    client = robot.node.create_client(
        LoadBundle, "joint_policy_node/load", qos_profile=QoSProfile(depth=1000)
    )
    robot.until(client.service_is_ready, "the service load")
    asked = LoadBundle.Request(bundle=str(bundle))
    # An error in the log for each, which is more than twice what a pipe takes.
    answers = [client.call_async(asked) for _ in range(1000)]
    robot.until(lambda: all(answer.done() for answer in answers), "the answers")
    assert robot.tick().mode == Mode.RUN
    process.send_signal(signal.SIGTERM)
    robot.until(lambda: is_damp(robot.commands[-1]), "the fault command")
    status, output = ended(process)
    assert (status, output.count("load refused: the mode is RUN")) == (0, 1000)


def test_log_whose_pump_is_killed_is_a_problem_in_the_status_and_stops_nothing(
    start: Callable[..., Process], robot: Robot, bundle: Path
) -> None:
    process = start(f"bundle:={bundle}", "use_sim_time:=true")
    robot.runs()
    for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
        if "log_pump" in Path(f"/proc/{child}/cmdline").read_text("utf-8"):
            os.kill(int(child), signal.SIGKILL)
    robot.reported(
        lambda status: "; the log is lost: its process log_pump (pid" in status.reason,
        "the lost log in the status",
    )
    before = len(robot.diagnostics)
    robot.until(lambda: len(robot.diagnostics) > before + 1, "diagnostics")
    assert "the log is lost" in robot.diagnostics[-1].status[0].message
    assert robot.tick().mode == Mode.RUN
    process.send_signal(signal.SIGINT)
    assert process.wait(DEADLINE_S) == 0
    robot.until(lambda: is_damp(robot.commands[-1]), "the fault command")


def test_node_that_nohup_started_outlives_its_terminal(
    start: Callable[..., Process], robot: Robot, bundle: Path
) -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        process = start(f"bundle:={bundle}", "use_sim_time:=true")
    finally:
        signal.signal(signal.SIGHUP, before)
    robot.runs()

    process.send_signal(signal.SIGHUP)
    modes = {robot.tick().mode for _ in range(20)}

    assert modes == {Mode.RUN}
    process.send_signal(signal.SIGTERM)
    assert ended(process)[0] == 0


@pytest.fixture
def hanging(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Register a backend `hanging` with which a method never returns; it makes a file before."""

    def install(module: str, method: str) -> Path:
        site, hangs = tmp_path / "site", tmp_path / "hangs"
        register(site, "hanging", GROUP, {"hanging": "hanging:Hanging"})
        (site / "hanging.py").write_text(
            HANGING.format(hangs=str(hangs), module=module, method=method), "utf-8"
        )
        monkeypatch.setenv("PYTHONPATH", f"{site}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
        return hangs

    return install


@pytest.mark.slow
def test_signal_ends_a_policy_whose_recordings_go_to_a_disk_that_hangs(
    start: Callable[..., Process], robot: Robot, bundle: Path, hanging: Callable[[str, str], Path]
) -> None:
    hangs = hanging("policy_inference.flight.recording_folder", "RecordingFolder.problem")
    process = start(f"bundle:={bundle}", "backend:=hanging", "use_sim_time:=true")
    robot.runs()
    robot.until(hangs.is_file, "the recorder to hang")
    last = robot.commands[-1].sequence
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    robot.until(lambda: robot.commands[-1].sequence > last, "the fault command")
    assert status == 0
    assert is_damp(robot.commands[-1])
    assert "not written within 3 s" in output or "no answer from the disk" in output
    assert "Traceback" not in output


@pytest.mark.slow
def test_signal_ends_a_policy_one_of_whose_callbacks_does_not_return(
    start: Callable[..., Process], robot: Robot, bundle: Path, hanging: Callable[[str, str], Path]
) -> None:
    hangs = hanging("policy_inference.nodes.status", "StatusReporter.problems")
    process = start(f"bundle:={bundle}", "backend:=hanging", "use_sim_time:=true")
    stand = robot.node.create_client(Trigger, "joint_policy_node/stand")
    robot.until(stand.service_is_ready, "the service stand")
    stand.call_async(Trigger.Request())
    robot.until(hangs.is_file, "the callback to hang")
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    assert status == 2
    assert "a callback does not return" in output
    assert "Traceback" not in output


def test_signal_ends_a_policy_whose_status_report_does_not_return(
    start: Callable[..., Process], robot: Robot, bundle: Path, hanging: Callable[[str, str], Path]
) -> None:
    hangs = hanging("policy_inference.nodes.status", "StatusReporter.report")
    process = start(f"bundle:={bundle}", "backend:=hanging", "use_sim_time:=true")
    robot.until(hangs.is_file, "the report to hang")
    robot.is_met()
    last = robot.commands[-1].sequence
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    robot.until(lambda: robot.commands[-1].sequence > last, "the fault command")
    assert status == 0
    assert is_damp(robot.commands[-1])
    assert "a status report does not return" in output
    assert "Traceback" not in output


def scheduled(process: int) -> list[tuple[int, int]]:
    """Return policy and priority of each thread, the highest first."""
    threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
    return sorted(
        (
            (
                os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK,
                os.sched_getparam(thread).sched_priority,
            )
            for thread in threads
        ),
        reverse=True,
    )


def test_control_thread_runs_before_all_others_and_these_before_the_machine(
    start: Callable[..., Process], robot: Robot, bundle: Path
) -> None:
    process = start(f"bundle:={bundle}", "use_sim_time:=true", "realtime.priority:=20")
    robot.runs()
    first, *others = scheduled(process.pid)
    if first == (os.SCHED_OTHER, 0):
        process.send_signal(signal.SIGTERM)
        assert "realtime.priority 20: Operation not permitted" in ended(process)[1]
        pytest.skip("no right to real-time priority here")
    assert first == (os.SCHED_FIFO, 20)
    assert set(others) == {(os.SCHED_FIFO, 19)}
    robot.call(
        ChangeState,
        "joint_policy_node/change_state",
        ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE)),
    )
    assert set(scheduled(process.pid)) == {(os.SCHED_OTHER, 0)}


def test_control_thread_alone_keeps_to_its_core(
    start: Callable[..., Process], robot: Robot, bundle: Path
) -> None:
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("this machine has one core")
    last = max(allowed)
    process = start(f"bundle:={bundle}", "use_sim_time:=true", f"realtime.cpus:='{last}'")
    robot.runs()
    found = [
        os.sched_getaffinity(int(thread.name))
        for thread in Path(f"/proc/{process.pid}/task").iterdir()
    ]
    assert found.count({last}) == 1
    assert found.count(allowed) == len(found) - 1
    process.send_signal(signal.SIGTERM)
    assert f"the machine grants realtime.cpus {last}" in ended(process)[1]


def forbid_real_time() -> None:
    """Take the rights to real-time priority and locked memory from this process and its children.

    From root too, who has them as capabilities.
    """
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
    prctl = ctypes.CDLL(None).prctl
    for capability in (_CAP_SYS_NICE, _CAP_IPC_LOCK):
        prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


def test_refused_real_time_is_a_warning_and_the_policy_runs(
    start: Callable[..., Process], robot: Robot, bundle: Path
) -> None:
    process = start(
        f"bundle:={bundle}",
        "use_sim_time:=true",
        "realtime.priority:=20",
        "realtime.cpus:=1000-1001",
        "realtime.lock_memory:=true",
        preexec_fn=forbid_real_time,
    )
    robot.runs()
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    assert status == 0
    assert "realtime.priority 20: Operation not permitted (EPERM)" in output
    assert "LimitRTPRIO=20" in output
    assert "realtime.cpus 1000,1001: Invalid argument (EINVAL)" in output
    assert "realtime.lock_memory: " in output
    assert "LimitMEMLOCK=infinity" in output


def test_impatient_second_signal_changes_nothing(
    start: Callable[..., Process], robot: Robot, bundle: Path
) -> None:
    process = start(f"bundle:={bundle}", "use_sim_time:=true")
    robot.runs()
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    assert status == 0
    assert "Traceback" not in output


@pytest.mark.parametrize("apart", [False, True], ids=["here", "in a child"])
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_while_a_model_is_being_opened_ends_the_process(
    start: Callable[..., Process], bundle: Path, number: signal.Signals, stuck: Stuck, apart: bool
) -> None:
    began, folders = stuck(apart=apart)
    process = start(f"bundle:={bundle}", "backend:=stuck")
    opening = os.pidfd_open(int(began.read_text("utf-8")))
    try:
        process.send_signal(number)
        process.send_signal(number)
        status, output = ended(process)

        assert status == 0
        assert len(output.splitlines()) == 1
        assert "asked to end while the node configures" in output
        assert select.select([opening], [], [], DEADLINE_S)[0], "what opens has lived on"
        assert not list(folders.iterdir())
    finally:
        os.close(opening)


@pytest.mark.parametrize("apart", [False, True], ids=["here", "in a child"])
def test_signal_while_another_policy_is_being_loaded_leaves_the_robot_safe(
    start: Callable[..., Process],
    robot: Robot,
    bundle: Path,
    tmp_path: Path,
    stuck: Stuck,
    apart: bool,
) -> None:
    began, folders = stuck(apart=apart)
    other = write_version(tmp_path / "other", "1.3.0")
    process = start(f"bundle:={bundle}", "use_sim_time:=true")
    robot.is_met()
    loads = robot.node.create_client(LoadBundle, "joint_policy_node/load")
    robot.until(loads.service_is_ready, "the service load")
    answer = loads.call_async(LoadBundle.Request(bundle=str(other), backend="stuck"))
    opening = is_opening(robot, began)
    try:
        robot.request("stand")
        assert robot.tick().mode == Mode.STAND
        last = robot.commands[-1].sequence
        process.send_signal(signal.SIGTERM)
        response = robot.finishes(answer, "the answer")
        status, output = ended(process)

        assert response.message == "load abandoned: the node stops"
        robot.until(lambda: robot.commands[-1].sequence > last, "the fault command")
        assert is_damp(robot.commands[-1])
        assert status == 0
        assert "Traceback" not in output
        assert select.select([opening], [], [], DEADLINE_S)[0], "what opens has lived on"
        assert not list(folders.glob("policy_inference_*"))
    finally:
        os.close(opening)


def test_node_without_autostart_waits_for_its_transitions(
    start: Callable[..., Process], robot: Robot
) -> None:
    process = start("autostart:=false")
    state = robot.read(GetState, "joint_policy_node/get_state").current_state.label
    process.send_signal(signal.SIGTERM)
    assert (state, ended(process)[0]) == ("unconfigured", 0)


def test_bad_input_ends_with_status_2_and_one_clear_line_each(
    start: Callable[..., Process], robot: Robot, bundle: Path, tmp_path: Path
) -> None:
    broken = write_bundle(tmp_path / "broken", {"rate_hz": -50, "safety.on_fault": "jump"})
    expected = {
        start("autostart:=true"): ["parameter bundle: expected a value, found none"],
        start(f"bundle:={broken}"): [
            f"{broken}/policy.yaml: rate_hz: expected",
            "safety.on_fault: expected one of",
        ],
        start(f"bundle:={bundle}", "backend:=magic"): ["expected names of installed backends"],
        start(f"bundle:={bundle}", "status_rate_hz:=fast"): ["status_rate_hz"],
        start(f"bundle:={bundle}", "status_rate_hz:=1000.0"): ["status_rate_hz"],
        start(f"bundle:={bundle}", "realtime.cpus:=3"): [
            "expected a text, found 3; quote one that looks like a number (-p "
            "\"realtime.cpus:='3'\"): realtime.cpus"
        ],
        start(f"bundle:={bundle}", "safety.max_tild_rad:=0.5"): [
            "parameter safety.max_tild_rad: expected a known name (safety.max_tilt_rad?)"
        ],
        start(f"bundle:={bundle}", "output:=semaphore"): [
            "parameter output: expected one of joint_command, "
        ],
    }
    for process, texts in expected.items():
        status, output = ended(process)
        assert status == 2, output
        lines = output.splitlines()
        assert len(lines) == len(texts), output
        assert all(any(text in line for line in lines) for text in texts), output
    assert robot.commands == []


def test_help_tells_the_parameters_and_starts_nothing() -> None:
    done = subprocess.run(
        ["joint_policy_node", "--help"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "  bundle (required): Folder of the policy bundle" in done.stdout


INTERRUPTED = """
import os, signal, sys

class Interrupts:
    def find_spec(self, name, path=None, target=None):
        if name == "{while_importing}":
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)  # a test may be started without
sys.meta_path.insert(0, Interrupts())
from {package}.nodes.start import {command}
{command}()
"""


@pytest.mark.parametrize("command", ["act_policy_node", "joint_policy_node", "usb_camera"])
@pytest.mark.parametrize("while_importing", ["rclpy", "numpy"])
def test_interruption_while_modules_are_imported_ends_the_process_without_a_word(
    command: str, while_importing: str
) -> None:
    code = INTERRUPTED.format(
        package="policy_inference", command=command, while_importing=while_importing
    )
    ended = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
