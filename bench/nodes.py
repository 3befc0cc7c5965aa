# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Cost of the node as a process: round trip, processor time, start."""

import compileall
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import count

from policy_msgs.msg import JointCommand

from bench.baselines import PERIOD_NS
from bench.c_baselines import c_baseline
from bench.effort import Effort
from bench.figures import Figure, Summary, alternated, summarise
from bench.processes import (
    ROOT,
    BenchError,
    Child,
    baseline,
    in_namespace,
    patient_bundle,
    policy_node,
    running,
)
from bench.robot import SeenCommand, UprightRobot, upright_robot

_REPETITIONS, _ANSWERS = 10, 100
_LOADS, _LOAD_S = 5, 4.0
_STARTS = 5
_JOINT_STATE_NS, _IMU_NS = 2_000_000, 5_000_000
_ROBOT_CLOCK = 1.0015
"""Our rate over the robot's: at equal rates, messages would always hit the same tick phase."""
_START_TIMEOUT_S = 30.0
_namespaces = (f"/bench_{number}" for number in count())


def measure(effort: Effort) -> list[Figure]:
    """Measure all figures of this module."""
    return [start(effort), *roundtrip(effort), *processor_time(effort)]


def roundtrip(effort: Effort) -> list[Figure]:
    """From sending a JointState to the command that answers it, at 50 Hz.

    The policy ticks when the JointState arrives: with a timer, the figure would include the
    sample's age. All nodes run throughout and are asked in turn, because the machine's other load
    varies from second to second by more than the nodes differ.
    """
    with ExitStack() as stack:
        bundle = str(stack.enter_context(patient_bundle()))
        # The policy last: it holds without sensors.
        policy = policy_node(bundle=bundle, trigger="joint_states")
        commands = [c_baseline("echo"), baseline("echo"), policy]
        robots = [stack.enter_context(_answering(command))[0] for command in commands]
        rounds = [_answers(robots, effort) for _ in range(effort.count(_REPETITIONS))]
    in_c, in_python, ours = zip(*rounds, strict=True)
    return [
        Figure(name="roundtrip_ratio", unit="us", ours=ours, baseline=in_python, wanted=0.75),
        Figure(name="roundtrip_c_ratio", unit="us", ours=ours, baseline=in_c, wanted=1.25),
    ]


@contextmanager
def _answering(command: Sequence[str]) -> Iterator[tuple[UprightRobot, Child]]:
    """Run a node with its own robot; wait until it answers or, for a policy node, is in RUN."""
    namespace = next(_namespaces)
    with upright_robot(namespace) as robot, running(in_namespace(command, namespace)) as child:
        if command[0] == "joint_policy_node":
            robot.bring_to_run(child)
        else:
            robot.await_commands(child)
        yield robot, child


def _answers(robots: Sequence[UprightRobot], effort: Effort) -> list[Summary]:
    """Ask each node at 50 Hz, a quarter of a period apart; return the times until the answers.

    The Imu for the last node, the policy, is sent three quarters of a period before its JointState.
    """
    took_us = [list[float]() for _ in robots]
    deadline_ns = time.monotonic_ns()
    for _ in range(_ANSWERS):
        robots[-1].publish_imu(robots[-1].imu())
        for robot, of_robot in zip(robots, took_us, strict=True):
            deadline_ns = _sleep_until(deadline_ns + PERIOD_NS // 4)
            of_robot += _answer_us(robot)
        # Never catch up: a policy answers at its rate, not twice in a period.
        deadline_ns = max(
            _sleep_until(deadline_ns + PERIOD_NS // 4), time.monotonic_ns() - PERIOD_NS // 4
        )
    if (lost := _ANSWERS - min(map(len, took_us))) > effort.lost_share * _ANSWERS:
        raise BenchError(f"{lost} of {_ANSWERS} sensor messages were not answered")
    return [summarise(of_robot) for of_robot in took_us]


def _answer_us(robot: UprightRobot) -> list[float]:
    """Send a JointState; return a list with the time until its answer, empty if there was none."""
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


def _from_policy(command: SeenCommand | None) -> bool:
    """Return whether the policy made the command; a busy machine may cause a brief HOLD."""
    if command is None or command.mode == JointCommand.MODE_HOLD:
        return False
    if command.mode != JointCommand.MODE_RUN:
        raise BenchError(f"expected the policy to run, found a command of mode {command.mode}")
    return True


def processor_time(effort: Effort) -> list[Figure]:
    """Processor time at 500 Hz JointState and 200 Hz Imu in, 50 Hz out; all nodes run together."""
    with ExitStack() as stack:
        policy = policy_node(bundle=str(stack.enter_context(patient_bundle())))
        commands = [c_baseline("gather"), baseline("callbacks"), policy]
        nodes = [stack.enter_context(_answering(command)) for command in commands]
        shares = [_shares(nodes, effort) for _ in range(effort.count(_LOADS))]
    in_c, in_python, ours = zip(*shares, strict=True)
    unit = "% of a core"
    return [
        Figure(name="cpu_ratio", unit=unit, ours=ours, baseline=in_python, wanted=0.12),
        Figure(name="cpu_c_ratio", unit=unit, ours=ours, baseline=in_c, wanted=1.25),
    ]


def _shares(nodes: Sequence[tuple[UprightRobot, Child]], effort: Effort) -> list[Summary]:
    """Return each node's share of a core in percent while sensors stream in."""
    robots = [robot for robot, _ in nodes]
    before_ns = [child.cpu_ns() for _, child in nodes]
    began_ns = time.monotonic_ns()
    commands = stream_sensors(robots, _LOAD_S, effort)
    took_ns = time.monotonic_ns() - began_ns
    used_ns = [child.cpu_ns() - before for (_, child), before in zip(nodes, before_ns, strict=True)]
    least = (1.0 - effort.lost_share) * _LOAD_S * 1e9 / PERIOD_NS
    for each in commands:
        if (count := len(list(filter(_from_policy, each)))) < least:
            raise BenchError(f"received {count} commands in {_LOAD_S} s, expected 50 Hz")
    return [Summary(value=100.0 * used / took_ns) for used in used_ns]


def stream_sensors(
    robots: Sequence[UprightRobot], duration_s: float, effort: Effort
) -> list[list[SeenCommand]]:
    """Publish 500 Hz JointState and 200 Hz Imu for a while; return the received commands."""
    commands = [list[SeenCommand]() for _ in robots]
    start_ns = time.monotonic_ns()
    for at_ns in range(0, round(duration_s * 1e9), 1_000_000):
        joint_states, imu = at_ns % _JOINT_STATE_NS == 0, at_ns % _IMU_NS == 0
        if not (joint_states or imu):
            continue
        _sleep_until(start_ns + round(_ROBOT_CLOCK * at_ns))
        for robot, of_robot in zip(robots, commands, strict=True):
            if joint_states:
                robot.publish_joint_states(robot.joint_states())
            if imu:
                robot.publish_imu(robot.imu())
                of_robot += robot.take_all()
    late_s = (time.monotonic_ns() - start_ns) * 1e-9 - _ROBOT_CLOCK * duration_s
    if late_s > effort.late_s:
        raise BenchError(f"the sensors were {late_s:.1f} s late: this machine is too busy")
    return commands


def start(effort: Effort) -> Figure:
    """Time from the start of the process to the log line that reports its configuration."""
    # bytecode as Python leaves it after a first start, unless PYTHONDONTWRITEBYTECODE prevents that
    for package in ("policy_core", "policy_store", "policy_inference"):
        compileall.compile_dir(ROOT / "src" / package / package, quiet=1)
    compileall.compile_dir(ROOT / "bench", quiet=1)
    return alternated(
        "start_ratio",
        lambda: _start_s(policy_node()),
        lambda: _start_s(baseline("lifecycle")),
        blocks=effort.count(_STARTS),
        wanted=1.9,
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
