# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the node costs, as a process among processes: answers, processor time, start."""

import compileall
import time
from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count

from policy_msgs.msg import JointCommand

from bench.baselines import PERIOD_NS
from bench.figures import Figure, Summary, alternated, summarise
from bench.processes import ROOT, BenchError, Child, baseline, in_namespace, policy_node, running
from bench.robot import UprightRobot, upright_robot

_REPETITIONS, _ANSWERS = 10, 100
_LOADS = 5
_STARTS = 5
_LOAD_S = 6.0
_JOINT_STATE_NS, _IMU_NS = 2_000_000, 5_000_000
_ROBOT_CLOCK = 1.0015
"""Ours over the robot's: with the same one, messages would meet all ticks of a run at one place."""
_START_TIMEOUT_S = 30.0
_LOST_SHARE = 0.05
"""With more missing answers than this share a figure would be about something else."""
_namespaces = (f"/bench_{number}" for number in count())


def roundtrip() -> Figure:
    """From a JointState that leaves to the command that answers it, at 50 Hz.

    Both nodes are there all the time and asked in turn: what a machine does besides changes from
    one second to the next, by more than they differ.
    """
    with ExitStack() as stack:
        echo, policy = (
            _asked(stack, command, policy=policy)
            for command, policy in (
                (baseline("echo"), False),
                (policy_node(trigger="joint_states"), True),
            )
        )
        pairs = [_answers(echo, policy) for _ in range(_REPETITIONS)]
    theirs, ours = zip(*pairs, strict=True)
    return Figure(name="roundtrip_ratio", unit="us", ours=ours, baseline=theirs, wanted=1.3)


def _asked(stack: ExitStack, command: Sequence[str], *, policy: bool) -> UprightRobot:
    """Start a node with a robot of its own; return the robot when it is answered."""
    namespace = next(_namespaces)
    robot = stack.enter_context(upright_robot(namespace))
    child = stack.enter_context(running(in_namespace(command, namespace)))
    _prepare(robot, child, policy=policy)
    return robot


def _prepare(robot: UprightRobot, child: Child, *, policy: bool) -> None:
    if policy:
        robot.bring_to_run(child)
    else:
        robot.await_commands(child)


def _answers(echo: UprightRobot, policy: UprightRobot) -> tuple[Summary, Summary]:
    """Ask both at 50 Hz; return how long they took, the echo first.

    The policy's Imu comes half a period before its JointState, the echo is asked between them.
    """
    took_us: tuple[list[float], list[float]] = [], []
    deadline_ns = time.monotonic_ns()
    for _ in range(_ANSWERS):
        policy.publish_imu(policy.imu())
        for robot, of_robot in zip((echo, policy), took_us, strict=True):
            deadline_ns = _sleep_until(deadline_ns + PERIOD_NS // 4)
            of_robot += _answer_us(robot)
        # Never catch up: a policy answers at its rate, not twice in a period.
        deadline_ns = max(
            _sleep_until(deadline_ns + PERIOD_NS // 2), time.monotonic_ns() - PERIOD_NS // 4
        )
    if (lost := _ANSWERS - min(map(len, took_us))) > _LOST_SHARE * _ANSWERS:
        raise BenchError(f"{lost} of {_ANSWERS} sensor messages were not answered")
    return summarise(took_us[0]), summarise(took_us[1])


def _answer_us(robot: UprightRobot) -> list[float]:
    """Send a JointState; return how long its answer took, nothing for none."""
    message = robot.joint_states()
    robot.take()
    began_ns = time.monotonic_ns()
    robot.publish_joint_states(message)
    robot.wait_for_command(PERIOD_NS)
    took_ns = time.monotonic_ns() - began_ns
    return [took_ns * 1e-3] if _from_policy(robot.take()) else []


def _sleep_until(deadline_ns: int) -> int:
    time.sleep(max(0, deadline_ns - time.monotonic_ns()) * 1e-9)
    return deadline_ns


def _from_policy(command: JointCommand | None) -> bool:
    """Return whether the policy made it; on a busy machine the node may hold for a moment."""
    if command is None or command.mode == JointCommand.MODE_HOLD:
        return False
    if command.mode != JointCommand.MODE_RUN:
        raise BenchError(f"expected the policy to run, found a command of mode {command.mode}")
    return True


def processor_time() -> Figure:
    """Processor time at 500 Hz JointState and 200 Hz Imu in, 50 Hz out."""
    return alternated(
        "cpu_ratio",
        lambda: _share(policy_node(), policy=True),
        lambda: _share(baseline("callbacks"), policy=False),
        blocks=_LOADS,
        wanted=0.5,
        unit="% of a core",
    )


def _share(command: Sequence[str], *, policy: bool) -> Summary:
    """Return a node's share of a core in per cent while sensors stream in."""
    namespace = next(_namespaces)
    with upright_robot(namespace) as robot, running(in_namespace(command, namespace)) as child:
        _prepare(robot, child, policy=policy)
        began_ns, cpu_ns = time.monotonic_ns(), child.cpu_ns()
        commands = stream_sensors(robot, _LOAD_S)
        cpu_ns = child.cpu_ns() - cpu_ns
        share = 100.0 * cpu_ns / (time.monotonic_ns() - began_ns)
    if (
        len([each for each in commands if _from_policy(each)])
        < (1.0 - _LOST_SHARE) * _LOAD_S * 1e9 / PERIOD_NS
    ):
        raise BenchError(f"received {len(commands)} commands in {_LOAD_S} s, expected 50 Hz")
    return Summary(value=share)


def stream_sensors(robot: UprightRobot, duration_s: float) -> list[JointCommand]:
    """Publish 500 Hz JointState and 200 Hz Imu for a while; return the commands that came."""
    commands = list[JointCommand]()
    start_ns = time.monotonic_ns()
    for at_ns in range(0, round(duration_s * 1e9), 1_000_000):
        joint_states, imu = at_ns % _JOINT_STATE_NS == 0, at_ns % _IMU_NS == 0
        if not (joint_states or imu):
            continue
        _sleep_until(start_ns + round(_ROBOT_CLOCK * at_ns))
        if joint_states:
            robot.publish_joint_states(robot.joint_states())
        if imu:
            robot.publish_imu(robot.imu())
            command = robot.take()
            if command is not None:
                commands.append(command)
    late_s = (time.monotonic_ns() - start_ns) * 1e-9 - _ROBOT_CLOCK * duration_s
    if late_s > 0.1:
        raise BenchError(f"the sensors were {late_s:.1f} s late: this machine is too busy")
    return commands


def start() -> Figure:
    """From the start of the process to the log line of its configuration."""
    # As Python leaves them after a first start, unless PYTHONDONTWRITEBYTECODE keeps it from that.
    for folder in ("bench", "src/policy_inference/policy_inference"):
        compileall.compile_dir(ROOT / folder, quiet=1)
    return alternated(
        "start_ratio",
        lambda: _start_s(policy_node()),
        lambda: _start_s(baseline("lifecycle")),
        blocks=_STARTS,
        wanted=2.0,
        unit="s",
    )


def _start_s(command: Sequence[str]) -> Summary:
    with running(in_namespace(command, next(_namespaces))) as child:
        give_up_ns = child.began_ns + round(_START_TIMEOUT_S * 1e9)
        while "[INFO]" not in child.output():
            child.check()
            if time.monotonic_ns() > give_up_ns:
                raise BenchError(f"not configured after {_START_TIMEOUT_S} s")
            time.sleep(0.002)
        return Summary(value=(time.monotonic_ns() - child.began_ns) * 1e-9)
