# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The driver of a Lite3: its motion host's UDP interface as the topics of a robot.

Publishes (reliable, depth 1): `joint_states` (sensor_msgs/JointState), `imu/data`
(sensor_msgs/Imu), `contact_forces` (policy_msgs/ContactForces); `~/status`
(policy_msgs/RobotStatus, reliable, transient local), `/diagnostics`.
Subscribes (reliable): `joint_command` (policy_msgs/JointCommand, depth 1), `estop` (std_msgs/Bool).
Serves (std_srvs/Trigger): `~/take_control`, `~/release_control`, which answer when that is done,
`~/damp`, and `~/reset`, which releases the e-stop.

Nothing is sent to the robot before `~/take_control`. Control is given back on every way out.
"""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from std_srvs.srv import Trigger

from lite3_driver.host_link import HostLink, require_port
from lite3_driver.interfaces import RELEASE, TAKE, Answer, Phase, Report
from lite3_driver.nodes.answers import Answers
from lite3_driver.nodes.commands import CommandTopic
from lite3_driver.nodes.gate import Gate
from lite3_driver.nodes.sensors import SensorTopics
from lite3_driver.nodes.settings import PARAMETERS, settings_of
from lite3_driver.nodes.status import StatusTopics
from policy_inference.errors import RobotError
from policy_inference.machine.scheduling import set_realtime_priority, threads_of
from policy_inference.nodes import qos
from policy_inference.nodes.estop import listen_to_estop
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.parameters import ParameterTable, refuse_arguments
from policy_inference.nodes.process import run_node

_STOPS = "the node stops"
_HANGS = ("the process that talks to the robot hangs, so that nothing could be asked of it: press "
          "the hardware e-stop; unless it goes on, the driver ends within some seconds")
_DAMPED = {
    Phase.LISTENING: "nothing is sent to the robot: control was not taken",
    Phase.TAKING: "control is not taken; the robot is braked and given back",
    Phase.FOLLOWING: "the drives damp; commands are followed again from one in MODE_DAMP on",
    Phase.DAMPING: "the drives damp; commands are followed again from one in MODE_DAMP on",
    Phase.RELEASING: "the drives damp, and control is being given back",
}
"""What comes of a request to damp in each phase."""


class DriverNode(LifecycleBase):
    """Thin adapter between topics and the process that owns the socket.

    That process, and with it the port, is there while the node is active.
    """

    def __init__(self) -> None:
        """Declare the parameters; nothing else exists before configure."""
        super().__init__("lite3_driver")
        self._table = ParameterTable(self, PARAMETERS, lambda: self.configured)
        self._closers, self._stoppers = ExitStack(), ExitStack()
        self._answers = Answers()
        # For the life of the node: only who releases an e-stop ends it, not a new configuration.
        self._gate = Gate()
        requests: dict[str, Callable[[], bool]] = {
            TAKE: self._take,
            RELEASE: lambda: self._link.release()}
        for name, act in requests.items():
            # Never destroyed while an answer is owed; and others are answered meanwhile.
            self.create_service(Trigger, f"~/{name}", partial(self._request, name, act),
                                qos_profile=qos.REQUESTS, callback_group=ReentrantCallbackGroup())

    def set_up(self) -> None:
        """Read the parameters and create all other entities; publish nothing.

        Raises:
            PolicyError: The port is taken, or there is no such address: where another driver runs,
                publishers of the same topics would disturb its robot.
        """
        values = self._table.read()
        self._settings = settings_of(values)
        require_port(self._settings)
        self._sensors = SensorTopics(
            self, state_rate_hz=values["joint_state_rate_hz"], imu_rate_hz=values["imu_rate_hz"],
            contact_rate_hz=values["contact_rate_hz"])
        self._closers.callback(self._sensors.close)
        commands = self._commands = CommandTopic(self)
        self._closers.callback(commands.close)
        self._status = StatusTopics(self, lambda: self._gate.reasons, lambda: commands.unfit)
        self._closers.callback(self._status.close)
        self._closers.callback(
            self.destroy_service, self.create_service(
                Trigger, "~/damp", self._on_damp, qos_profile=qos.REQUESTS))
        self._closers.callback(
            self.destroy_service, self.create_service(
                Trigger, "~/reset", self._on_reset, qos_profile=qos.REQUESTS))
        self._closers.callback(listen_to_estop(self, self._gate.press))
        timer = self.create_timer(1.0 / values["status_rate_hz"], self._report,
                                  clock=Clock(clock_type=ClockType.STEADY_TIME))
        self._closers.callback(self.destroy_timer, timer)

    def start(self) -> None:
        """Listen to the robot, and send it nothing.

        Raises:
            PolicyError: The port is taken, or there is no such address.
        """
        self._status.start()
        link = self._link = HostLink(self._settings, on_state=self._sensors.publish,
                              on_report=self._on_report, on_lost=self._on_lost)
        self._stoppers.callback(link.close)
        self._gate.connect(link)
        self._stoppers.callback(self._gate.connect, None)
        self._commands.start(self._gate.follow)
        self._stoppers.callback(self._commands.stop)
        self._apply_priority()
        self.get_logger().info(
            f"listening on {self._settings.interface_address}:{self._settings.state_port} for "
            f"{self._settings.host_address}")

    def _apply_priority(self) -> None:
        """Run all threads of the node right after the process of the socket, until `stop`.

        They publish the robot's state and hand commands on: a policy whose inputs are late stops.
        """
        priority, option = self._settings.realtime.priority, "realtime.priority"
        # A node that goes before the process of the socket would keep it from its frames.
        if priority and not any(text.startswith(option) for text in self._link.refused):
            for warning in set_realtime_priority(max(1, priority - 1), option, _threads()):
                self.get_logger().warning(warning)
            self._stoppers.callback(lambda: set_realtime_priority(0, option, _threads()))

    def stop(self) -> None:
        """Give control back, if there is any, and let go of the port."""
        self._stoppers.close()
        self._answers.give_up(_STOPS)

    def tear_down(self) -> None:
        """Close everything that was opened, the last first."""
        self._closers.close()

    async def _request(
        self, name: str, act: Callable[[], bool], _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answer when it is done, or cannot be; other requests go on meanwhile."""
        answer = self._refusal(name)
        if answer is None:
            self.answering += 1
            try:
                future = self._answers.await_one(name, self.executor)
                if not act():
                    self._answers.give(Answer(request=name, success=False, message=_HANGS))
                answer = await future
            finally:
                self.answering -= 1
        response.success, response.message = answer.success, answer.message
        # rclpy refuses two severities from one line of code.
        if answer.success:
            self.get_logger().info(answer.message)
        else:
            self.get_logger().error(answer.message)
        self._report()
        return response

    def _refusal(self, name: str) -> Answer | None:
        reason = ""
        if not self.running:
            reason = "the node is not active; activate it first"
        elif name == TAKE and self._answers.owes(TAKE):
            reason = "control is being taken already; wait for its answer"
        return Answer(request=name, success=False, message=reason) if reason else None

    def _on_damp(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self.running:
            response.message = "the node is not active; activate it first"
            return response
        phase = self._status.phase
        if self._link.damp("asked for by service"):
            response.success, response.message = phase is not Phase.LISTENING, _DAMPED[phase]
        else:
            response.message = _HANGS
        return response

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._gate.release()
        response.success, response.message = True, "the e-stop is released"
        self._report()
        return response

    def _take(self) -> bool:
        self._look_at_senders()
        return self._gate.take()

    def _look_at_senders(self) -> None:
        self._gate.see_senders(self._commands.senders_problem())

    def _on_report(self, report: Report) -> None:
        # Several times a second, whatever the rate of ~/status.
        self._look_at_senders()
        self._status.update(report)
        if report.answer is not None:
            self._answers.give(report.answer)

    def _on_lost(self, reason: str) -> None:
        """End: there is no driver without the process of the socket."""
        self._status.lose(reason)
        self._answers.give_up(reason)

        def fail() -> None:
            raise RobotError(reason)

        self.executor.create_task(fail)

    def _report(self) -> None:
        if self.running:
            self._status.publish()


def _threads() -> tuple[int, ...]:
    """Return the threads that the node has now."""
    return threads_of(os.getpid())


def main(args: Sequence[str] | None = None) -> None:
    """Entry point of the command `lite3_driver`."""
    refuse_arguments("lite3_driver", __doc__, PARAMETERS, args)
    sys.exit(run_node(DriverNode, args))
