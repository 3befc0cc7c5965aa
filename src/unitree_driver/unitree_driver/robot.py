# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Takes, uses and gives back control of a Unitree robot; the transport is in `nodes`."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from robot_driver.checks import Stillness, YawRateCheck, outside
from robot_driver.consistency import SenseConsistency
from robot_driver.interfaces import DAMPING, F64, NS_PER_S, POSITION, STIFFNESS
from robot_driver.robot import RobotInterface
from unitree_driver import wire
from unitree_driver.figures import UnitreeFigures, UnitreeSettings
from unitree_driver.reception import UnitreeReception, UnitreeState, decode_state
from unitree_driver.wire import RobotTopic

STOP_KEYS = ("L2", "B")
"""Keys of the remote that act as an e-stop when held together, as in unitree_rl_lab."""
_LEVEL_RAD = 0.5
"""Maximum roll and pitch at which control is taken."""
_LOWERED_RAD = 0.8
"""Tilt at which a robot is no longer lowered, since it has fallen or is about to fall."""
_RATIO = 1.25
_HOST_TIMED_OUT = 0x40000000
"""Motor error bit: the motor lost its connection to the robot's computer."""
_LOWER_S, _SETTLE_S = 2.0, 0.3
_SHOWN = 8
"""Maximum number of command publishers named in a message."""
_RELEASED = "released_mode"
"""Key in `notes` for the controller that the driver released."""
_NO_STANDBY = "the standby process, which damps if the link process dies, is not running"


class UnitreeRobot(RobotInterface[UnitreeState]):
    """A Unitree robot, which follows anyone's LowCmd once its own controller has released it.

    Attributes:
        model: Figures of this kind of robot; set by each subclass.
    """

    host = "the robot"
    preparing = "is being released by its own controller (a quadruped once it lies down)"
    prepared = "was released by its own controller"
    # until it is released, its own controller commands the drives
    stopped_by_taking = False
    settings_type = UnitreeSettings
    settings: UnitreeSettings
    reception: UnitreeReception
    model: ClassVar[UnitreeFigures]

    def __init_subclass__(cls) -> None:
        """Set the subclass's `name` and `figures` from its model."""
        super().__init_subclass__()
        if "model" in vars(cls):
            cls.name, cls.figures = cls.model.name, cls.model.figures

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)
        self.reception = UnitreeReception(self.model, settings)
        self._service = self.reception.service
        self._stillness, self._yaw_rate = Stillness(), YawRateCheck()
        self._senses = SenseConsistency(self.figures, torques=settings.obeyed_torque_nm > 0.0)
        self._commands = _Commands(self.model)
        self._remote_seen = self._stop_held = False
        self._taking = False
        """True from a request for control until control is given back."""

    @property
    def place(self) -> str:
        settings = self.settings
        by = settings.network_interface or "the environment's network interfaces"
        return f"{wire.TOPIC_NAMES[RobotTopic.LOWSTATE]}, domain {settings.domain_id}, {by}"

    def decode(self, data: bytes) -> UnitreeState:
        state = decode_state(data, self.model)
        self._commands.machine = state.machine
        return state

    def encode(self, values: F64) -> bytes:
        """Return the LowCmd for values [n, 5], preceded by the number of its topic."""
        self._senses.sent(values)
        return self._commands.frame(values)

    def see(self, state: UnitreeState, now_ns: int) -> None:
        self._commands.machine = state.machine
        self._stillness.see(state.joint_vel, state.ang_vel, now_ns)
        self._yaw_rate.see(state.tick, state.rpy, state.ang_vel)
        self._senses.see(state, state.rpy, state.ang_vel, state.lin_acc)
        self._stop_held = state.remote.holds(*STOP_KEYS)
        # without a key, all bytes are 0, as they may also be for a switched-off remote
        self._remote_seen = self._remote_seen or state.remote.keys != 0

    def obstacles(self, now_ns: int) -> list[str]:
        """Return reasons to refuse control; during a request, the robot must also be free."""
        settings, state = self.settings, self.reception.state
        found = [*self._imu_problems(), *self._commander_problems()]
        found += filter(None, [self._senses.problem])
        if not self.reception.news.standby:
            found.append(_NO_STANDBY)
        if self._stop_held:
            found.append(f"{'+'.join(STOP_KEYS)} of the wireless remote is held")
        if settings.remote_required and not self._remote_seen:
            found.append(
                "no button press received from the wireless remote, whose "
                f"{'+'.join(STOP_KEYS)} is the e-stop: press any button to show that it works "
                "(remote_required)"
            )
        if self.model.lying is None and not settings.hung:
            found.append(
                "the joints become limp when the robot is released: hang it up, then set `hung`"
            )
        if state is not None:
            tilt = float(np.abs(state.rpy[:2]).max())
            if tilt > _LEVEL_RAD:
                found.append(
                    f"the robot is tilted by {tilt:.2f} rad, expected at most {_LEVEL_RAD}"
                )
        if self._taking:
            problem = self._service.problem()
            found += [problem] if problem else []
            found += self._lying_problems()
            found += self._stillness.problems(now_ns)
        return found

    def fault(self) -> str:
        if self._stop_held:
            return f"{'+'.join(STOP_KEYS)} of the wireless remote was pressed"
        if self._service.active:
            return self._service.problem()
        found = [*self._commander_problems(), *self._motor_problems()]
        if self._yaw_rate.other_unit:
            found += self._imu_problems()
        return "; ".join(filter(None, [*found, self._senses.problem]))

    def warning(self) -> str:
        return self._senses.warning

    def notes(self) -> dict[str, str | float]:
        service, battery = self._service, self.reception.battery
        notes: dict[str, str | float] = {**self._senses.notes()}
        if service.active is not None:
            notes["motion_service"] = service.active or "released"
        if service.released:
            notes[_RELEASED] = service.released
        if service.error:
            notes["motion_service_error"] = service.error
        # not a fault, because stopping would make a walking robot fall
        if self._taking and not self.reception.news.standby:
            notes["standby"] = _NO_STANDBY
        if battery is not None:
            notes["battery_percent"] = battery.percent
        state = self.reception.state
        if state is not None and state.motor_errors.any():
            notes["motor_errors"] = ", ".join(
                f"{self.figures.joint_names[i]} 0x{state.motor_errors[i]:08X}"
                for i in np.flatnonzero(state.motor_errors)
            )
        if self._yaw_rate.ratio is not None:
            notes["yaw_rate_ratio"] = self._yaw_rate.ratio
        return notes

    def prepare(self) -> list[bytes]:
        self._taking = True
        self._service.begin()
        return self._service.advance(0.0, lies=False, lies_down=False)

    def await_ready(self, elapsed_s: float) -> list[bytes] | None:
        rests = not self._lying_problems() and not self._stillness.problems(self.reception.state_ns)
        free = self._service.active == "" and rests
        if free or elapsed_s >= self.settings.release_timeout_s:
            return None
        can_lie = self.model.lying is not None
        return self._service.advance(elapsed_s, lies=rests, lies_down=can_lie)

    def keep_control(self, now_ns: int) -> list[bytes]:
        """Return requests that check if the robot is still free, as an app or remote may act."""
        return self._service.watch(now_ns / NS_PER_S)

    def lower(self, sent: F64, elapsed_s: float) -> F64 | None:
        """Return values [n, 5] that lower a standing robot; None if it is down or not standing."""
        lying, state = self.model.lying, self.reception.state
        if lying is None or state is None or elapsed_s >= _LOWER_S + _SETTLE_S:
            return None
        stands = (sent[:, STIFFNESS] > 0.0).all() and np.abs(state.rpy[:2]).max() < _LOWERED_RAD
        if not stands:
            return None
        end = np.zeros_like(sent)
        end[:, POSITION] = lying.position
        end[:, STIFFNESS], end[:, DAMPING] = lying.stiffness, lying.damping
        share = min(1.0, elapsed_s / _LOWER_S)
        return np.asarray(sent + share * (end - sent))

    def recall(self, details: Mapping[str, str | int | float]) -> None:
        """Store which controller the link process had released, so it can be selected again."""
        self._service.released = str(details.get(_RELEASED, ""))

    @property
    def given_back(self) -> str:
        """Answer to `release_control`; warns if the robot's own controller may move the robot."""
        text = super().given_back
        if not self._selects:
            return text
        return (
            f"{text}: the robot's own controller `{self._service.released}` has control and may "
            "make the robot stand up"
        )

    def give_back(self) -> list[bytes]:
        """Return the request that selects the released controller again, if settings say so."""
        self._taking = False
        self._senses.sent(None)
        frames = self._service.select() if self._selects else []
        self._service.begin()
        return frames

    @property
    def _selects(self) -> bool:
        """True if giving control back is to select the released controller again."""
        return self.settings.restore_mode and bool(self._service.released)

    def _imu_problems(self) -> list[str]:
        """Return a problem if the angular velocity does not match the robot's rotation."""
        ratio = self._yaw_rate.ratio
        if ratio is None or 1.0 / _RATIO < ratio < _RATIO:
            return []
        return [
            f"while the robot turned, the integral of its angular velocity was {ratio:.3g} times "
            "the change in yaw, expected 1: the unit is not rad/s, or messages were lost"
        ]

    def _commander_problems(self) -> list[str]:
        """Report who else publishes commands; the robot's own controller may, until released."""
        others = self.reception.news.commanders
        named = sorted(name for name in others if name)
        unnamed = len(others) - len(named)
        # DDS does not reveal which of them is the robot's own
        released = self._service.active == ""
        too_many = max(0, unnamed - self.settings.lowcmd_publishers) if released else 0
        if not named and not too_many:
            return []
        more = [f"{len(named) - _SHOWN} more"] if len(named) > _SHOWN else []
        more += [f"{too_many} outside ROS"] if too_many else []
        found = [*named[:_SHOWN], *more]
        return [
            f"another publisher on {wire.TOPIC_NAMES[RobotTopic.LOWCMD]} ({', '.join(found)}): "
            "stop it; a killed process stays listed for about 20 s"
        ]

    def _motor_problems(self) -> list[str]:
        state = self.reception.state
        if state is None:
            return []
        lost = np.flatnonzero(state.motor_errors & _HOST_TIMED_OUT)
        names = ", ".join(self.figures.joint_names[i] for i in lost)
        return [f"{names}: lost the connection to the robot's computer"] if names else []

    def _lying_problems(self) -> list[str]:
        """Return, as sentences, why a robot that must lie down does not count as lying."""
        lying, state = self.model.lying, self.reception.state
        if lying is None or state is None:
            return []
        return [
            f"{self.figures.joint_names[joint]} is at {angle:.2f} rad, expected "
            f"{low:.2f}..{high:.2f} in the lying pose"
            for joint, angle, low, high in outside(
                state.joint_pos, lying.lowest_rad, lying.highest_rad
            )
        ]


class _Commands:
    """Encodes LowCmd messages from one record that is updated for each frame.

    Attributes:
        machine: `mode_machine` of the newest state, which a unitree_hg robot expects back.
    """

    def __init__(self, model: UnitreeFigures) -> None:
        family = model.family
        self._layout = family.command
        self._record: Any = np.zeros((), self._layout.record)
        self._slots = np.array(model.slots)
        self._record["motors"]["mode"][self._slots] = model.modes
        self._has_machine = "mode_machine" in (self._layout.record.names or ())
        if family.head:
            self._record["head"], self._record["level_flag"] = (
                list(family.head[:2]),
                family.head[2],
            )
        self.machine = 0

    def frame(self, values: F64) -> bytes:
        """Return the LowCmd for values [n, 5], preceded by the number of its topic."""
        # same order as COMMAND_FIELDS: q, dq, tau, kp, kd
        self._record["motors"]["numbers"][self._slots] = values
        if self._has_machine:
            self._record["mode_machine"] = self.machine
        return _LOWCMD + self._layout.to_wire(self._record)


_LOWCMD = bytes([RobotTopic.LOWCMD])
