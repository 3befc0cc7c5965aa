# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The computer of a Unitree Go2 or G1 as a driver sees it, without DDS and in simulated time.

This module was written without observing a robot. The rules come from the vendor's code and from
reports of other users; where nothing is known, the host is as strict as a robot could be.

- At startup, the robot's own controller drives the joints and holds the pose. It answers on
  `motion_switcher` and, on a quadruped, on `sport`.
- ReleaseMode ends this controller after 0.3 s; then the joints are limp. SelectMode or a fault
  restarts it: it moves the joints to the standing pose.
- A LowCmd is followed only while no such controller drives the joints, and only with the right CRC
  and either the right head (`go`) or the right `mode_machine` and a `mode_pr` of 0 (`hg`). A motor
  follows only in mode 1; otherwise it is limp. Any other LowCmd is ignored and counted.
- The last command stays in force forever unless the host has a watchdog, since no document states a
  timeout.
- The services of a controller that is not running do not answer.

Its faults are those in `robot_sim.host_faults`, and:

==========================  ======================================================================
`crc:state`                 LowState has a wrong CRC
`length:state`              LowState ends after half of its motors
`tick:state`                the tick of LowState stands still
`motors:state=count`        motors from this one on do not answer: all their values are 0
`machine:state=number`      LowState has this `mode_machine` (G1)
`battery:state=percent`     the state of charge has this value
`degrees:imu`               the angular velocity is in degrees/s
`not_unit:imu`              the quaternion has norm 1.1
`xyzw:imu`                  the quaternion has w last, not first
`press:BUTTON`              a button of the remote control is down, such as L2 or A
`stick:WAY=share`           a stick is deflected: forward, back, left, right, turn_left, turn_right
`off:remote`                the remote control is off: all its bytes are 0
`returned:host`             the robot's own controller returns, and stays
`stubborn:host`             ReleaseMode is answered, but has no effect
`turned:host`               a person turns the robot by 90 degrees within 2 s
`hung:host`                 the base is held in place, and let down at the end
==========================  ======================================================================
"""

import json
import math
from typing import NamedTuple

import numpy as np

from robot_sim import unitree_messages as messages
from robot_sim.driven import NS_PER_S
from robot_sim.errors import SimError
from robot_sim.figures import Pose, load_robot
from robot_sim.host_faults import HostFault, HostFaultPlan
from robot_sim.robot_host import RobotHost
from robot_sim.unitree_messages import Record
from robot_sim.unitree_state import MODELS, StateMessages
from robot_sim.world import World

LOW_CMD, LOW_STATE = "rt/lowcmd", "rt/lowstate"
SECONDARY_IMU, BATTERY = "rt/secondary_imu", "rt/lf/bmsstate"
IGNORED = (
    "not_released",
    "wrong_form",
    "wrong_crc",
    "wrong_head",
    "wrong_mode_machine",
    "wrong_mode_pr",
    "motor_mode",
    "unfit_command",
    "no_service",
)
"""Kinds of ignored inputs: commands while the robot's own controller drives the joints; commands
with a wrong length, CRC, head, `mode_machine` or `mode_pr`; commands to motors in a mode other than
1; commands that no drive can follow; requests to a service that is not running.
"""
MODES = ("normal", "ai", "advanced", "mcf")
"""Names of the robot's own controllers."""
_CHECK, _SELECT, _RELEASE = 1001, 1002, 1003
_DAMP, _STOP_MOVE, _STAND_UP, _STAND_DOWN, _RECOVERY_STAND = 1001, 1003, 1004, 1005, 1006
_NO_SUCH_API, _NOT_JSON, _NO_SUCH_MODE = 3203, 7001, 7004
_RELEASE_NS = 300_000_000
_STAND_NS = 2 * NS_PER_S
_STATE_STEPS, _BATTERY_STEPS = 2, 1000
"""Number of 1 ms physics steps between messages: 500 Hz for the state, 1 Hz for the battery."""
_TURN_RAD, _TURN_S = math.pi / 2.0, 2.0
Message = tuple[str, bytes]
"""Topic, and bytes with encapsulation."""


class ApiRequest(NamedTuple):
    """A request to a service: its number, its API id, its JSON, and whether a reply is unwanted."""

    number: int
    api: int
    parameter: str = "{}"
    no_reply: bool = False


class ApiResponse(NamedTuple):
    """The answer: the request's number and API id, an error code or 0, and JSON."""

    number: int
    api: int
    code: int = 0
    data: str = ""


class UnitreeHost(RobotHost):
    """The robot's onboard computer. Each `step` is one physics step of the world.

    Additional events: `mode_selected`, `mode_released`, `mode_returned`, `standing_up`,
    `standing_down`, `damping`.

    Attributes:
        mode: Name of the robot's own controller that drives the joints; empty if the controller was
            released.
    """

    def __init__(
        self,
        robot: str,
        *,
        friction: float = 1.0,
        seed: int = 0,
        pose: Pose = "standing",
        mode: str = "ai",
        watchdog_s: float = 0.0,
    ) -> None:
        """Put a robot on the floor; its own controller holds it in the start pose.

        Args:
            robot: Name in `MODELS`.
            friction: Sliding friction between feet and floor.
            seed: Seed for the start pose; 0 gives the exact pose.
            pose: Start pose.
            mode: Name of the robot's own controller.
            watchdog_s: Time without commands after which the drives damp; 0 for never.
        """
        if robot not in MODELS:
            raise SimError(f"robot: expected one of {', '.join(MODELS)}, found '{robot}'")
        if mode not in MODES:
            raise SimError(f"mode: expected one of {', '.join(MODES)}, found '{mode}'")
        if watchdog_s < 0.0:
            raise SimError(f"watchdog_s: expected a time >= 0, found {watchdog_s}")
        self.model, self.figures = MODELS[robot], load_robot(robot)
        world = World(self.figures, friction=friction, seed=seed, pose=pose)
        names = world.joint_names
        super().__init__(
            world,
            ignores=IGNORED,
            watchdog_s=watchdog_s,
            plan=HostFaultPlan((), seed=seed, joint_names=names),
        )
        self._reports = StateMessages(self.model, world)
        # index of each joint's motor
        self._motors = np.argsort(self._reports.joints)
        self._own_mode, self.mode = mode, mode
        self._releases_ns: int | None = None
        self._answers: list[tuple[str, ApiResponse]] = []
        self._hold(pose)

    def receive(self, topic: str, arrived: bytes | ApiRequest) -> None:
        """Handle a message: the bytes of a LowCmd, or a request to the service named `topic`."""
        if not self._on:
            return
        if isinstance(arrived, ApiRequest):
            self._serve(topic, arrived)
        else:
            self._obey(arrived)

    def step(self) -> list[Message]:
        """Advance by one physics step; return the messages to publish after it."""
        if self._releases_ns is not None and self.world.time_ns >= self._releases_ns:
            self._release()
        streams = self._advance()
        steps = self.world.steps
        if streams is None or steps % _STATE_STEPS:
            return []
        faults = self.plan.active(self.world.time_ns)
        state = self._reports.low_state(
            streams,
            tick=(self.world.time_ns - self._started_ns) // 1_000_000,
            temperature_c=self._temperature_c,
            faults=faults,
        )
        if state is None:
            return []
        sent = [(LOW_STATE, state)]
        if self.model.torso:
            sent.append((SECONDARY_IMU, self._reports.secondary_imu()))
        if self.model.family == "hg" and steps % _BATTERY_STEPS == 0:
            sent.append((BATTERY, self._reports.battery(faults)))
        return sent

    def answers(self) -> list[tuple[str, ApiResponse]]:
        waiting, self._answers = self._answers, []
        return waiting

    def start(self) -> None:
        """Switch the host on again: its tick starts at 0; its own controller raises the robot."""
        super().start()
        self.mode, self._releases_ns = self._own_mode, None
        self._stand()

    def _begin(self, fault: HostFault) -> None:
        super()._begin(fault)
        if fault.kind == "returned" and not self.mode:
            self._select(self._own_mode, "mode_returned")
        elif fault.kind == "turned":
            self.world.turn(_TURN_RAD, _TURN_S)
        elif fault.kind == "hung":
            self.world.hang()

    def _end(self, fault: HostFault) -> None:
        super()._end(fault)
        if fault.kind == "hung":
            self.world.let_down()

    def _obey(self, data: bytes) -> None:
        """Give a LowCmd to the drives, if it is valid."""
        try:
            command = messages.decode(f"{self.model.family}.LowCmd", data)
        except messages.WrongMessageError as error:
            self._ignore("wrong_form", str(error))
            return
        if refusal := self._refusal(command):
            self._ignore(*refusal)
            return
        motors = command["motor_cmd"][: len(self._motors)]
        on = motors["mode"] == 1
        if not on.all():
            modes = sorted(set(motors["mode"].tolist()) - {1})
            self._ignore("motor_mode", f"expected mode 1, found {modes} on {np.sum(~on)} motors")
        values = {
            name: np.where(on, motors[name], 0.0).astype(np.float64)[self._motors]
            for name in ("q", "dq", "tau", "kp", "kd")
        }
        try:
            self._command(
                position=values["q"],
                velocity=values["dq"],
                effort=values["tau"],
                stiffness=values["kp"],
                damping=values["kd"],
                who=LOW_CMD,
            )
        except SimError as error:
            self._ignore("unfit_command", str(error))

    def _refusal(self, command: Record) -> tuple[str, str] | None:
        """Return the kind and the reason if a LowCmd must be ignored; otherwise None."""
        if int(command["crc"]) != messages.crc(command):
            # the same text for all of them, so that not each one is a new event
            return "wrong_crc", "the CRC does not match the content"
        if self.model.family == "go":
            head = (*command["head"].tolist(), int(command["level_flag"]))
            if head != (*messages.HEAD, messages.LEVEL_FLAG):
                return "wrong_head", f"expected fe ef ff, found {bytes(head).hex(' ')}"
        else:
            machine, pr = int(command["mode_machine"]), int(command["mode_pr"])
            if machine != self.model.mode_machine:
                return "wrong_mode_machine", f"expected {self.model.mode_machine}, found {machine}"
            if pr:
                return "wrong_mode_pr", f"expected 0, found {pr}"
        if self.mode:
            return "not_released", f"the controller '{self.mode}' drives the joints"
        return None

    def _serve(self, service: str, request: ApiRequest) -> None:
        """Answer a request, unless the service is not running or a reply is unwanted."""
        if service == "motion_switcher":
            code, data = self._switch_motion(request)
        elif service == "sport" and self.model.feet and self.mode:
            code, data = self._do_sport(request.api), ""
        else:
            self._ignore("no_service", f"{service}, mode '{self.mode}'")
            return
        if not request.no_reply:
            answer = ApiResponse(number=request.number, api=request.api, code=code, data=data)
            self._answers.append((service, answer))

    def _switch_motion(self, request: ApiRequest) -> tuple[int, str]:
        if request.api == _CHECK:
            return 0, json.dumps({"form": "0", "name": self.mode}, separators=(",", ":"))
        if request.api == _RELEASE:
            stubborn = any(
                fault.kind == "stubborn" for fault in self.plan.active(self.world.time_ns)
            )
            if self.mode and not stubborn and self._releases_ns is None:
                self._releases_ns = self.world.time_ns + _RELEASE_NS
            return 0, ""
        if request.api != _SELECT:
            return _NO_SUCH_API, ""
        try:
            name = json.loads(request.parameter)["name"]
        except (ValueError, TypeError, KeyError):
            return _NOT_JSON, ""
        if name not in MODES:
            return _NO_SUCH_MODE, ""
        self._select(name, "mode_selected")
        return 0, ""

    def _do_sport(self, api: int) -> int:
        if api == _STAND_DOWN:
            self._say("standing_down", "sport")
            self._hold("lying")
        elif api in (_STAND_UP, _RECOVERY_STAND):
            self._stand()
        elif api == _DAMP:
            self._damp("damping", "sport")
        elif api != _STOP_MOVE:
            return _NO_SUCH_API
        return 0

    def _select(self, mode: str, event: str) -> None:
        """Start the robot's own controller, which makes the robot stand up."""
        self.mode, self._own_mode, self._releases_ns = mode, mode, None
        self.target, self._heard_ns, self._following = None, None, False
        self._say(event, mode)
        self._stand()

    def _release(self) -> None:
        """Release the joints from the robot's own controller, which leaves them limp."""
        zeros = np.zeros(len(self._motors))
        was, self.mode, self._releases_ns = self.mode, "", None
        self._command(
            position=zeros, velocity=zeros, effort=zeros, stiffness=zeros, damping=zeros, who=""
        )
        # no command of another controller has arrived yet
        self._heard_ns = None
        self._say("mode_released", was)

    def _stand(self) -> None:
        self._say("standing_up", self.mode)
        self._hold("standing")

    def _hold(self, pose: Pose) -> None:
        """Move to a pose and hold it."""
        self._move(
            self.figures.start(pose).joint_pos,
            _STAND_NS,
            stiffness=np.array(self.model.stiffness)[self._motors],
            damping=np.array(self.model.damping)[self._motors],
        )
