# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""One seed in real time: an emulated Lite3, its driver and its policy node as processes over DDS.

Of a seed's steps, those that act from outside the processes are run: requests, velocities, second
senders, faults of the robot and of its link, and stopped and killed processes.
"""

from __future__ import annotations

import math
import signal
import time
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from policy_msgs.msg import JointCommand
from policy_msgs.srv import LoadBundle, SetAuthority
from std_srvs.srv import Trigger

from examples.demos.runner import LoggedProcess
from model_tools.prove.replaying.invariants import check_flight
from policy_core.interfaces import Mode
from robot_driver.interfaces import MODE_DAMP, DriverPhase
from robot_operator.nodes.services import RobotServices
from robot_operator.requests import OperatorError, OperatorRequest
from robot_sim.errors import SimError
from robot_sim.figures import LITE3
from tools.chaos.operator import OF_SCRIPTS, ChaosOperator, authority_request
from tools.chaos.scenario import BUNDLES, MODE_AT, ROGUE_AGAIN_NS, rogue_command
from tools.chaos.steps import LOADS, PAIRS, ChaosStep, draw_steps, end_s
from tools.chaos.timeline import NS_PER_S, VirtualTimeline
from tools.chaos.watch import AnswerWatch, ChaosWatch
from tools.robot_faults.lite3 import Lite3Stack

_DRIVER, _POLICY = "lite3_driver", "joint_policy_node"
_OF_LINK = {
    **{
        kind: (f"{kind}:state", f"{kind}:command")
        for kind in ("loss", "delay", "duplicate", "reorder")
    },
    "partition": ("silent:state", "deaf:command"),
}
"""The emulator's faults for a fault between the robot and its driver."""
_LOADED = {"same": "lite3_walk", "limits": "lite3_crouch", "missing": "missing"}
_ANSWER_S, _STOPS_WITHIN_S = 10.0, 0.2
_LOOK_NS, _JOINS_NS, _HELPED_NS = NS_PER_S // 20, NS_PER_S // 5, 4 * NS_PER_S
"""Time between two looks at the nodes; time that a new publisher gets to be discovered; time in
DAMP after which a person sets the robot upright.
"""
_LISTED_NS, _AGAIN_NS = 25 * NS_PER_S, 40 * NS_PER_S
"""Time for which DDS may list a killed process; time after the steps in which it must run again."""


def run_for_real(seed: int, seconds: float, folder: Path, say: Callable[[str], None]) -> bool:
    """Run a seed's steps in real time, and print what happened; return whether all held.

    Args:
        seed: Seed of the steps.
        seconds: Duration of the run.
        folder: Folder for logs and flight recordings.
        say: Prints a line.
    """
    folder.mkdir(parents=True)
    flights = folder / "flights"
    parameters = {"flight.duration_s": 30.0, "flight.after_s": 0.2, "flight.folder": str(flights)}
    steps = draw_steps(seed, seconds)
    try:
        with Lite3Stack(folder, emulator={"trace_file": ""}, policy=parameters) as robot:
            robot.operator.wait_for_robot()
            robot.expect_deaths()
            play = _RealPlay(robot, seed, steps)
            play.run(seconds)
            if play.watch.broken is None:
                robot.operator.record()
    except (OperatorError, SimError) as error:
        say(f"seed {seed}: {error}")
        return False
    ticks = 0
    for flight in sorted(flights.glob("[!.]*")):
        found = check_flight(flight)
        ticks += found.ticks
        play.watch.checked.update(found.checked)
        for one in found.violations:
            play.watch.require(one.name, False, f"{flight}: tick {one.tick}: {one.found}")
    broken = play.watch.broken
    say(
        f"seed {seed}: {play.began} steps, {play.watch.checked.total()} checks, {ticks} recorded "
        f"ticks; granted: {dict(play.answers.granted)}; {broken or 'all hold'}"
    )
    for event in play.timeline.events if broken else ():
        say(f"  {event}")
    return broken is None


class _RealPlay:
    """The operator and the schedule of a seed, acting on the processes of a robot."""

    def __init__(self, robot: Lite3Stack, seed: int, steps: Sequence[ChaosStep]) -> None:
        self._robot, self._steps = robot, steps
        self.timeline = timeline = VirtualTimeline()
        self.watch = ChaosWatch(timeline)
        self.answers = AnswerWatch(self.watch, timeline)
        self.began = 0
        self._faults = list[str]()
        self._ran_ns = self._moved_ns = self._helped_ns = self._listed_until_ns = 0
        self._arrived = deque[Callable[[], None]]()
        """Calls from the operator's other thread, for this thread to make."""
        self._newest, self._sent = b"", set[bytes]()
        self._silent_from_s, self._status = math.inf, robot.operator.status
        node = self._node = robot.operator.node
        self._services = RobotServices(node, _POLICY, _DRIVER)
        self._load = node.create_client(LoadBundle, f"{_POLICY}/load")
        self._set_authority = node.create_client(SetAuthority, f"{_POLICY}/set_authority")
        node.create_subscription(JointCommand, "joint_command", self._hear, 50, raw=True)
        self._operator = ChaosOperator(
            timeline, Random(f"operator {seed}"), self._ask, robot.operator.move
        )
        timeline.every(_LOOK_NS, self._look)
        for step in steps:
            timeline.at(round(step.at_s * NS_PER_S), partial(self._begin, step))

    def run(self, seconds: float) -> None:
        operator = self._robot.operator
        operator.wait_until(self._is_connected, "all services", _ANSWER_S)
        began_s = time.monotonic()

        def wait(time_ns: int) -> None:
            time.sleep(max(0.0, began_s + time_ns / NS_PER_S - time.monotonic()))

        over_ns = round(end_s(self._steps) * NS_PER_S)
        self.timeline.run(round(seconds * NS_PER_S), wait)
        latest_ns = self.timeline.now_ns + _AGAIN_NS
        while not self.timeline.ended and self._ran_ns <= over_ns:
            self.timeline.run(self.timeline.now_ns + NS_PER_S, wait)
            in_time = self.timeline.now_ns < latest_ns
            found = f"{operator.mode}: {operator.status.reason}"
            self.watch.require("runs_again", in_time, found)

    def _is_connected(self) -> bool:
        others = self._load.service_is_ready() and self._set_authority.service_is_ready()
        both = self._services.ready(OperatorRequest.RESET)
        return self._services.reaches_policy and others and len(both) == 2

    def _hear(self, data: bytes) -> None:
        """Hear a command, on the operator's other thread."""
        if data in self._sent:
            return
        self._newest = data
        mode, late_s = data[MODE_AT], time.monotonic() - self._silent_from_s
        holds = mode == MODE_DAMP or late_s < 0.0
        self._arrived.append(
            lambda: self.watch.require("estop_is_final", holds, f"{mode=}, {late_s:.3f} s late")
        )

    def _look(self) -> None:
        robot, timeline = self._robot, self.timeline
        while self._arrived:
            self._arrived.popleft()()
        self.answers.look()
        for process in (robot.emulator, robot.driver, robot.policy):
            ended = process.status not in (None, -signal.SIGKILL)
            self.watch.require("nothing_raises", not ended, f"{process.log}: {process.status}")
        before, status = self._status, robot.operator.status
        self._status, mode = status, Mode(status.mode)
        if status is not before:  # otherwise, the node may have ended
            if mode is not Mode.DAMP:
                self._moved_ns = timeline.now_ns
            if mode is Mode.RUN:
                self._ran_ns = timeline.now_ns
        if timeline.now_ns - max(self._moved_ns, self._helped_ns) > _HELPED_NS:
            self._helped_ns = timeline.now_ns
            timeline.note("a person sets the robot upright")
            robot.set_upright()
        self._operator.hear(mode, status.latched, status.authority)
        if robot.driver_status is not None:
            self._operator.hear_driver(DriverPhase(robot.driver_status.state))

    def _ask(self, name: str, value: float) -> None:
        """Send a request to the nodes concerned, without waiting for the answers."""
        self.timeline.note(f"operator: {name} {value:g}" if value else f"operator: {name}")
        if name == "load":
            bundle = str(BUNDLES / _LOADED[LOADS[int(value)]])
            self._send("host", name, self._load, LoadBundle.Request(bundle=bundle))
        elif name in OF_SCRIPTS:
            self._send("host", name, self._set_authority, authority_request(name, value))
        else:
            asked = OperatorRequest(name)
            if asked is OperatorRequest.ESTOP:
                self._silent_from_s = time.monotonic() + _STOPS_WITHIN_S
            elif asked is OperatorRequest.RESET:
                self._silent_from_s = math.inf
            self._services.announce(asked)
            for owner, client in self._services.granting(asked).items():
                actor = "driver" if owner == _DRIVER else "host"
                self._send(actor, name, client, Trigger.Request())

    def _send(self, actor: str, name: str, client: Any, request: Any) -> None:
        if actor == "host" and self.timeline.now_ns < self._listed_until_ns:
            client.call_async(request)  # the killed process, which DDS still lists, may get it
            return
        take = self.answers.asked(actor, name, _ANSWER_S)

        def answered(future: Any) -> None:
            response = future.result()
            self._arrived.append(lambda: take(response))

        client.call_async(request).add_done_callback(answered)

    def _begin(self, step: ChaosStep) -> None:
        act = self._act_of(step)
        if act is not None:
            self.began += 1
            if step.kind != "ask":
                self.timeline.note(step.what)
            act()

    def _act_of(self, step: ChaosStep) -> Callable[[], object] | None:
        """Return the function that begins a step; None if it cannot act from outside."""
        for_ns = round(step.for_s * NS_PER_S)
        if step.kind == "ask":
            return None if step.target == "switch" else partial(self._operator.ask, step)
        if step.kind == "drive":
            return lambda: self._operator.drive(step.target, for_ns)
        if step.kind == "steer":
            return lambda: self._operator.steer(step.value, for_ns)
        if step.kind == "rogue":
            return lambda: self._send_rogues(step.target, for_ns)
        if step.kind == "stall":
            return lambda: self._stall(step.target, for_ns)
        if step.kind == "kill" and self._robot.policy.status is None:
            return lambda: self._kill(for_ns)
        if step.kind == "robot":
            return lambda: self._fail([step.target], for_ns)
        if step.kind == "unpowered":
            motors = [f"motor_off:{joint}" for joint in LITE3.joint_names]
            return lambda: self._fail(motors, for_ns)
        if step.kind in _OF_LINK and step.target == PAIRS[0]:
            value = f"={step.value}" if step.value else ""
            faults = [f"{fault}{value}" for fault in _OF_LINK[step.kind]]
            return lambda: self._fail(faults, for_ns)
        return None

    def _stall(self, actor: str, for_ns: int) -> None:
        process = self._robot.policy if actor == "host" else self._robot.driver
        self._signal(process, signal.SIGSTOP)
        self.timeline.after(for_ns, lambda: self._signal(process, signal.SIGCONT))
        self.answers.wait(actor, for_ns)

    def _kill(self, for_ns: int) -> None:
        self._signal(self._robot.policy, signal.SIGKILL)
        self.answers.forget("host")
        self._listed_until_ns = self.timeline.now_ns + _LISTED_NS
        self.timeline.after(for_ns, self._robot.start_policy)

    def _signal(self, process: LoggedProcess, number: signal.Signals) -> None:
        if process.status is None:
            self._robot.signal(number, process.pid)

    def _fail(self, faults: Sequence[str], for_ns: int) -> None:
        """Begin faults of the emulated robot or its link, which end after this time."""

        def end() -> None:
            for fault in faults:
                self._faults.remove(fault)
            self._robot.set_faults(*self._faults)

        self._faults += faults
        self._robot.set_faults(*self._faults)
        self.timeline.after(for_ns, end)

    def _send_rogues(self, kind: str, for_ns: int) -> None:
        rogue = self._node.create_publisher(JointCommand, "joint_command", 1)

        def send() -> None:
            if self._newest:
                data = rogue_command(self._newest, kind)
                self._sent.add(data)
                rogue.publish(data)

        for at_ns in range(_JOINS_NS, _JOINS_NS + for_ns + 1, ROGUE_AGAIN_NS):
            self.timeline.after(at_ns, send)
        self.timeline.after(2 * _JOINS_NS + for_ns, lambda: self._node.destroy_publisher(rogue))
