# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The command `joint_policy_node` as a process: how it ends, and that it does not begin badly."""

import ctypes
import os
import resource
import select
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState

from policy_core.interfaces import Mode
from policy_inference.kinds.opening import NATIVE, PYTHON
from policy_inference.testing.models import save_endless
from testkit.fast_dds import PROFILES, run_python
from testkit.wording import check_wording

from .bundles import write_bundle
from .harness import DEADLINE_S, Robot, counters, is_damp, logged_in
from .opening_backends import register_opening

pytestmark = pytest.mark.ros
Process = subprocess.Popen[str]
Start = Callable[..., Process]
_PR_CAPBSET_DROP, _CAP_IPC_LOCK, _CAP_SYS_NICE = 24, 14, 23
"""Of prctl(2) and capabilities(7)."""


@pytest.fixture
def start_node() -> Iterator[Start]:
    running: list[Process] = []

    def run(*parameters: str, **options: Any) -> Process:
        words = [word for parameter in parameters for word in ("-p", parameter)]
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, **options}
        command = ["joint_policy_node", "--ros-args", *words]
        process = subprocess.Popen(command, text=True, stderr=subprocess.STDOUT, **streams)
        running.append(process)
        return process

    yield run
    for process in running:
        process.kill()
        process.communicate()


@pytest.fixture
def stuck_opening(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Register back ends that never open, here or in a child, for processes that start.

    They write the number of their process into a pipe; that and the temporary folder are returned.
    """
    began, folders = tmp_path / "began", tmp_path / "folders"
    folders.mkdir()
    os.mkfifo(began)
    register_opening(tmp_path / "site", monkeypatch)
    monkeypatch.setenv("TMPDIR", str(folders))
    return began, folders


def ended(process: Process) -> tuple[int, str]:
    output, _ = process.communicate(timeout=DEADLINE_S)
    return process.returncode, output


def block_signals() -> None:
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())


def test_signals_end_a_running_policy_with_the_fault_command(
    start_node: Start, partner: Robot, bundle_in_use: Path
) -> None:
    # Some parent processes block signals.
    process = start_node(f"bundle:={bundle_in_use}", "use_sim_time:=true", preexec_fn=block_signals)
    last = partner.runs().commands[-1].sequence
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
    status, output = ended(process)
    partner.until(lambda: partner.commands[-1].sequence > last, "the fault command")
    assert status == 0
    assert is_damp(partner.commands[-1])
    assert not [each for each in logged_in(output) if each.level == "ERROR"]
    assert "Traceback" not in output


@pytest.mark.slow
@pytest.mark.parametrize("loop", [NATIVE, PYTHON])
def test_model_that_never_returns_is_a_latched_fault(
    start_node: Start, partner: Robot, tmp_path: Path, loop: str
) -> None:
    changes = {
        "safety.state_timeout_s": 1.0,
        "safety.damp_after_s": 1.0,
        "model.artifacts.onnx.control_flow": "1 Loop",
    }
    bundle = write_bundle(tmp_path / "endless", changes, save_endless)
    process = start_node(f"bundle:={bundle}", f"realtime.loop:={loop}")
    partner.sends_in_real_time()
    partner.until(lambda: partner.ask("stand").success, "STAND")
    partner.until(lambda: partner.commands[-1].mode == Mode.READY, "READY")
    partner.request("run")
    partner.until(lambda: partner.commands[-1].mode == Mode.RUN, "RUN")
    partner.ang_vel = 0.1  # enters the model's loop
    status = partner.reported(lambda status: status.latched, "the fault")
    assert status.mode == Mode.DAMP
    assert is_damp(partner.commands[-1])
    assert counters(status)["estop"] == 0  # no tick has counted it
    check_wording(status.reason.partition(";")[0])
    process.terminate()
    assert "a tick hangs" in process.communicate(timeout=DEADLINE_S)[0]


def thread_priorities(process: int) -> list[tuple[int, int]]:
    threads = [int(thread.name) for thread in Path(f"/proc/{process}/task").iterdir()]
    policies = [os.sched_getscheduler(thread) & ~os.SCHED_RESET_ON_FORK for thread in threads]
    priorities = [os.sched_getparam(thread).sched_priority for thread in threads]
    return sorted(zip(policies, priorities, strict=True), reverse=True)


def test_control_thread_runs_before_all_others_and_these_before_the_machine(
    start_node: Start, partner: Robot, bundle_in_use: Path
) -> None:
    process = start_node(f"bundle:={bundle_in_use}", "use_sim_time:=true", "realtime.priority:=20")
    partner.runs()
    first, *others = thread_priorities(process.pid)
    if first == (os.SCHED_OTHER, 0):
        process.send_signal(signal.SIGTERM)
        assert "realtime.priority 20: " in ended(process)[1]
        pytest.skip("no right to real-time priority here")
    assert first == (os.SCHED_FIFO, 20)
    assert set(others) == {(os.SCHED_FIFO, 19)}
    request = ChangeState.Request(transition=Transition(id=Transition.TRANSITION_DEACTIVATE))
    partner.call(ChangeState, "joint_policy_node/change_state", request)
    assert set(thread_priorities(process.pid)) == {(os.SCHED_OTHER, 0)}


def forbid_real_time() -> None:
    """Take the rights to real-time priority and locked memory from this process and its children.

    From root too, who has them as capabilities.
    """
    resource.setrlimit(resource.RLIMIT_RTPRIO, (0, 0))
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (65536, 65536))
    prctl = ctypes.CDLL(None).prctl
    for capability in (_CAP_SYS_NICE, _CAP_IPC_LOCK):
        prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.mark.acceptance
def test_refused_real_time_is_a_warning_and_the_policy_runs(
    start_node: Start, partner: Robot, bundle_in_use: Path
) -> None:
    asked = ("priority:=20", "cpus:=1000-1001", "lock_memory:=true")
    words = ("use_sim_time:=true", *(f"realtime.{each}" for each in asked))
    process = start_node(f"bundle:={bundle_in_use}", *words, preexec_fn=forbid_real_time)
    partner.runs()
    process.send_signal(signal.SIGTERM)
    status, output = ended(process)
    assert status == 0
    check_wording(*(each.text for each in logged_in(output) if each.text.startswith("realtime.")))


@pytest.mark.parametrize(
    ("apart", "number"),
    [
        pytest.param(False, signal.SIGINT, id="here"),
        pytest.param(True, signal.SIGTERM, id="in a child", marks=pytest.mark.acceptance),
    ],
)
def test_signal_while_a_model_is_being_opened_ends_the_process(
    start_node: Start,
    bundle_in_use: Path,
    stuck_opening: tuple[Path, Path],
    apart: bool,
    number: signal.Signals,
) -> None:
    began, folders = stuck_opening
    name = "stuck" if apart else "stuck_here"
    process = start_node(
        f"bundle:={bundle_in_use}", f"backend:={name}", f"backend_options:={name}.pid={began}"
    )
    opening = os.pidfd_open(int(began.read_text("utf-8")))
    try:
        process.send_signal(number)
        process.send_signal(number)
        status, output = ended(process)
        assert status == 0
        (said,) = logged_in(output)
        check_wording(said.text)
        assert select.select([opening], [], [], DEADLINE_S)[0]
        assert not list(folders.iterdir())
    finally:
        os.close(opening)


@pytest.mark.parametrize("is_configured", [False, True])
def test_node_uses_no_shared_memory_of_fast_dds_unless_the_user_configured_it(
    start_node: Start, partner: Robot, monkeypatch: pytest.MonkeyPatch, is_configured: bool
) -> None:
    if not is_configured:
        for name in PROFILES:
            monkeypatch.delenv(name, raising=False)
    process = start_node("autostart:=false")
    assert partner.read(GetState, "joint_policy_node/get_state").current_state.label
    maps = Path(f"/proc/{process.pid}/maps").read_text()
    assert ("/dev/shm/fast" in maps) is is_configured


SERVED = """
import sys
from pathlib import Path
from policy_core.errors import PolicyError
from policy_inference.nodes.process import ServedNode, serve_node

def make():
    ServedNode("served", [], [])
    print("/dev/shm/fast" in Path("/proc/self/maps").read_text())
    raise PolicyError("the test ends")

sys.exit(serve_node("served", make, []))
"""


@pytest.mark.parametrize("is_configured", [False, True])
def test_nodes_that_only_serve_use_none_either(is_configured: bool) -> None:
    """The policy waits for the velocity and the height scan that such a node publishes."""
    ran = run_python(SERVED, is_configured=is_configured)
    assert (ran.returncode, ran.stdout.strip()) == (2, str(is_configured))


def test_bad_input_ends_with_status_2_and_one_clear_line_each(
    start_node: Start, partner: Robot, bundle_in_use: Path
) -> None:
    for process in [
        start_node("autostart:=true"),
        start_node(f"bundle:={bundle_in_use}", "status_rate_hz:=fast"),
        start_node(f"bundle:={bundle_in_use}", "safety.max_tild_rad:=0.5"),
    ]:
        status, output = ended(process)
        assert status == 2, output
        said = logged_in(output)
        assert len(said) == len(output.splitlines())
        check_wording(*(each.text for each in said))
    assert partner.commands == []
