# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A driver's node, which connects the link process to the robot's topics.

Publishes (reliable, depth 1) the robot's sensor topics; `~/status` (policy_msgs/RobotStatus,
reliable, transient local), `/diagnostics`. Subscribes (reliable): `joint_command`
(policy_msgs/JointCommand; from one publisher at a time, see `OneSender`), `estop` (std_msgs/Bool).
Serves (std_srvs/Trigger): `~/take_control`, `~/release_control`, which answer when done, `~/damp`,
and `~/reset`, which releases the e-stop.

Nothing is sent to the robot before `~/take_control`. Control is given back at every exit.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import fields
from functools import partial
from typing import Any

from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from std_srvs.srv import Trigger

from policy_core.errors import RobotError
from policy_inference.machine.scheduling import RealTime, list_threads, set_realtime_priority
from policy_inference.nodes import qos
from policy_inference.nodes.estop import EstopTopic
from policy_inference.nodes.lifecycle import LifecycleBase
from policy_inference.nodes.parameters import REALTIME, ParameterTable, Spec
from robot_driver.following import rest_mode_name
from robot_driver.interfaces import (
    MODE_DAMP,
    RELEASE,
    TAKE,
    DriverAnswer,
    DriverPhase,
    DriverReport,
    DriverSettings,
)
from robot_driver.nodes.commands import CommandTopic
from robot_driver.nodes.requests import Gate, PendingAnswers
from robot_driver.nodes.sensors import SensorTopic, SensorTopics
from robot_driver.nodes.status import StatusTopics
from robot_driver.robot import RobotInterface
from robot_driver.supervisor import LinkSupervisor

_DEFAULT = DriverSettings()
IMU_RATE = Spec(
    name="imu_rate_hz",
    type=float,
    default=200.0,
    minimum=1.0,
    maximum=500.0,
    doc="Rate of imu/data, Hz; at most that of joint_states",
)
"""Parameter for a driver with an IMU: rate of imu/data."""
COMMON_PARAMETERS = (
    Spec(
        name="state_timeout_s",
        type=float,
        default=_DEFAULT.state_timeout_s,
        minimum=0.005,
        maximum=0.5,
        doc="Time without a new state frame after which the drives damp, s",
    ),
    Spec(
        name="max_start_error_rad",
        type=float,
        default=_DEFAULT.max_start_error_rad,
        minimum=0.01,
        maximum=1.0,
        doc="Largest distance between the first command with stiffness and the measured pose, rad",
    ),
    *REALTIME,
    Spec(
        name="status_rate_hz",
        type=float,
        default=5.0,
        minimum=0.1,
        maximum=50.0,
        doc="Rate of ~/status and /diagnostics, Hz",
    ),
    Spec(
        name="autostart",
        type=bool,
        default=True,
        doc="True: configure and activate at the start; this alone never moves the robot",
    ),
)
"""Parameters common to all drivers; other fields of `DriverSettings` depend on the robot."""
_STOPS = "the node is stopping"
_HANGS = (
    "the process that talks to the robot hangs and accepts no requests: press the hardware "
    "e-stop; unless the process recovers, the driver exits within a few seconds"
)
_RESUMES = "the drives {rest}; commands are followed again, starting with one in {mode}"
_DAMPED = {
    DriverPhase.LISTENING: "nothing is sent to the robot: control was not taken",
    DriverPhase.TAKING: "control is not taken; the robot is braked, and control is given back",
    DriverPhase.FOLLOWING: _RESUMES,
    DriverPhase.DAMPING: _RESUMES,
    DriverPhase.RELEASING: "the drives {rest}, and control is being given back",
}
"""Response to a damp request, by phase; {rest} is what this robot's drives do at rest."""


class DriverNode(LifecycleBase):
    """Adapter between topics and the link process, which runs while the node is active.

    Each driver derives its node from this class, with its robot, parameters and sensor topics.
    """

    def __init__(
        self,
        name: str,
        robot_type: type[RobotInterface[Any]],
        parameters: Sequence[Spec],
        sensors: Sequence[SensorTopic] = (),
    ) -> None:
        """Declare the parameters; everything else is created on configure.

        Args:
            name: Node name.
            robot_type: Class of the robot's interface.
            parameters: COMMON_PARAMETERS, all other fields of `robot_type.settings_type`, and the
                rate parameters of the sensors.
            sensors: Topics of the robot's state; see `sensor_topics`.
        """
        super().__init__(name)
        self._robot_type, self._sensor_topics = robot_type, sensors
        self._table = ParameterTable(self, parameters, lambda: self.configured)
        self._closers, self._stoppers = ExitStack(), ExitStack()
        self._answers = PendingAnswers()
        # Kept for the node's lifetime: only a reset releases an e-stop, not a new configuration.
        self._gate = Gate()
        requests: dict[str, Callable[[], bool]] = {
            TAKE: self._take,
            RELEASE: lambda: self._link.release(),
        }
        for name, act in requests.items():
            # Not destroyed until the node ends, since an answer may be pending; reentrant, so that
            # other requests are answered meanwhile.
            self.create_service(
                Trigger,
                f"~/{name}",
                partial(self._request, name, act),
                qos_profile=qos.REQUESTS,
                callback_group=ReentrantCallbackGroup(),
            )

    def sensor_topics(self, joint_names: Sequence[str]) -> Sequence[SensorTopic]:
        """Return the topics for the state of a robot with these joints.

        Override this if the joints depend on the settings.
        """
        return self._sensor_topics

    def set_up(self) -> None:
        """Read the parameters, and create all other entities; nothing is published yet.

        Raises:
            PolicyError: The robot's interface cannot be opened.
        """
        values = self._table.read()
        self._settings = link_settings(self._robot_type.settings_type, values)
        robot = self._robot_type(self._settings)
        self._figures, joint_names = robot.figures, robot.figures.joint_names
        # Before any publisher is created: if another driver has the interface, our publishers on
        # the same topics would disturb the robot it is driving.
        robot.open().close()
        self._sensors = SensorTopics(self, self.sensor_topics(joint_names), values)
        self._closers.callback(self._sensors.close)
        commands = self._commands = CommandTopic(self, joint_names)
        self._closers.callback(commands.close)
        self._status = StatusTopics(
            self,
            kind=robot.name,
            joint_names=joint_names,
            other_obstacles=lambda: [*self._gate.reasons, *self._misfits()],
            commands=commands,
        )
        self._closers.callback(self._status.close)
        self._closers.callback(
            self.destroy_service,
            self.create_service(Trigger, "~/damp", self._on_damp, qos_profile=qos.REQUESTS),
        )
        self._closers.callback(
            self.destroy_service,
            self.create_service(Trigger, "~/reset", self._on_reset, qos_profile=qos.REQUESTS),
        )
        self._estop_topic = EstopTopic(self, self._gate.press)
        self._closers.callback(self._estop_topic.close)
        timer = self.create_timer(
            1.0 / values["status_rate_hz"],
            self._report,
            clock=Clock(clock_type=ClockType.STEADY_TIME),
        )
        self._closers.callback(self.destroy_timer, timer)

    def start(self) -> None:
        """Listen to the robot without sending anything.

        Raises:
            PolicyError: Same as for `set_up`.
        """
        self._status.start()
        robot = self._robot_type(self._settings)
        link = self._link = LinkSupervisor(
            robot,
            on_state=self._sensors.publish,
            on_report=self._on_report,
            on_lost=self._on_lost,
            ends=lambda: self.ending,
        )
        self._stoppers.callback(link.close)
        self._gate.connect(link)
        self._stoppers.callback(self._gate.connect, None)
        self._commands.start(self._gate.follow)
        self._stoppers.callback(self._commands.stop)
        self._apply_priority()
        self.get_logger().info(f"listening on {robot.place}")

    def _apply_priority(self) -> None:
        """Give the node's threads the priority just below the link process's, until `stop`.

        They publish the robot's state and forward commands, and a policy stops if its inputs are
        late.
        """
        priority, option = self._settings.realtime.priority, "realtime.priority"
        # A node with a higher priority than the link process would delay its frames.
        if priority and not any(text.startswith(option) for text in self._link.refused):
            for warning in set_realtime_priority(max(1, priority - 1), option, _threads()):
                self.get_logger().warning(warning)
            self._stoppers.callback(lambda: set_realtime_priority(0, option, _threads()))

    def stop(self) -> None:
        self._stoppers.close()
        self._answers.give_up(_STOPS)

    def tear_down(self) -> None:
        self._closers.close()

    async def _request(
        self, name: str, act: Callable[[], bool], _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        """Answer a request when it has ended or failed; other requests are served meanwhile."""
        answer = self._refusal(name)
        if answer is None:
            with self.owing_answer():
                future = self._answers.await_one(name, self.executor)
                if not act():
                    self._answers.give(DriverAnswer(request=name, success=False, message=_HANGS))
                answer = await future
        response.success, response.message = answer.success, answer.message
        # rclpy does not allow two severities at one call site
        if answer.success:
            self.get_logger().info(answer.message)
        else:
            self.get_logger().error(answer.message)
        self._report()
        return response

    def _refusal(self, name: str) -> DriverAnswer | None:
        reason = ""
        if not self.running:
            reason = "the node is not active; activate it first"
        elif name == TAKE and self._answers.owes(TAKE):
            reason = "control is already being taken; wait for the answer"
        return DriverAnswer(request=name, success=False, message=reason) if reason else None

    def _on_damp(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if not self.running:
            response.message = "the node is not active; activate it first"
            return response
        phase = self._status.phase
        if self._link.damp("requested by service"):
            response.success = phase is not DriverPhase.LISTENING
            response.message = _DAMPED[phase].format(
                rest="damp" if self._figures.rest_mode == MODE_DAMP else "hold",
                mode=rest_mode_name(self._figures),
            )
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
        return self._gate.take(self._misfits())

    def _misfits(self) -> list[str]:
        """Return why the current sender cannot drive this robot, and e-stops not received."""
        return [*filter(None, [self._commands.fit_problem(), self._estop_topic.problem])]

    def _look_at_senders(self) -> None:
        self._gate.see_senders(self._commands.senders_problem())

    def _on_report(self, report: DriverReport) -> None:
        # several times a second, whatever the rate of ~/status
        self._look_at_senders()
        self._status.update(report)
        if report.answer is not None:
            self._answers.give(report.answer)

    def _on_lost(self, reason: str) -> None:
        """End the node, since a driver cannot work without the link process."""
        self._status.lose(reason)
        self._answers.give_up(reason)

        def fail() -> None:
            raise RobotError(reason)

        self.executor.create_task(fail)

    def _report(self) -> None:
        if self.running:
            self._status.publish()


def _threads() -> tuple[int, ...]:
    return list_threads(os.getpid())


def link_settings(kind: type[DriverSettings], values: Mapping[str, Any]) -> DriverSettings:
    """Return the settings for the link process, given the node's parameters.

    Raises:
        PolicyError: `realtime.cpus` is not a list of cores.
    """
    named = {field.name: values[field.name] for field in fields(kind) if field.name in values}
    return kind(**named, realtime=RealTime.of(values))
