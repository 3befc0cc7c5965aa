# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accesses an arm's servos through LeRobot's robot classes; only this module imports LeRobot.

LeRobot finds the calibration file, configures the servos (`Robot.configure`), and measures joints
in its own units: degrees, and 0 to 100 for a gripper. This module also reads values that LeRobot's
observations lack: load, temperature, voltage, status and torque. After each reading of positions,
it reads one of these values.
"""

import sys
import time
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from itertools import cycle, permutations
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from lerobot_arm_driver.arms import GRIPPER, TORQUE_OFF, ArmSettings, drive_figures
from lerobot_arm_driver.frames import LIMP, TICKS, ArmState
from robot_driver.interfaces import F64, DriverError
from robot_driver.reception import StateBounds

_SMOOTHED_S: Final = 0.05
"""Smoothing time for velocities: a single encoder count between two readings amounts to 0.09 rad/s.
"""
_TRIES: Final = 3
_LATE_S: Final = 0.02
_SUCCESS: Final = 0
"""The servo libraries' `COMM_SUCCESS`."""
_CHECKED: Final = ("homing_offset", "range_min", "range_max")
_SHOWN: Final = 3
T = TypeVar("T")


class Servos:
    """Reads and commands the servos of one or two arms; each method may block."""

    def __init__(self, settings: ArmSettings) -> None:
        self._settings, self._arm = settings, settings.arm
        self._robots: list[Any] = []
        servo = self._arm.servo
        registers = {
            "load": servo.load,
            "temperature": servo.temperature,
            "voltage": servo.voltage,
            "status": servo.status,
            "holds": servo.torque,
        }
        self._registers = [(what, name) for what, name in registers.items() if name]
        self._orders = cycle(permutations(self._arm.range_rad))
        self._answered: list[int] = []
        """Numbers of the servos that answered the current request, in the order in which they
        answered.
        """
        self._configured = self._limp = False
        self._bounds = StateBounds(drive_figures(self._arm))
        self._position: F64 | None = None
        """Latest plausible positions [n], rad."""
        self._doubted: F64 | None = None
        """Latest implausible positions [n], rad; None if the latest ones were plausible."""
        self._read_s, self._doubted_s, self._turn = 0.0, 0.0, 0
        self._velocity, self._held, self._other = self._unknown()

    def connect(self) -> None:
        """Open each bus; check that its servos answer and match the calibration file."""
        self._configured, self._limp = False, False
        self._position = self._doubted = None
        self._velocity, self._held, self._other = self._unknown()
        for side, port in zip(self._arm.sides, self._settings.ports, strict=True):
            robot = _lerobots(self._made, side, port)
            self._robots.append(robot)
            self._listen(robot.bus)
            _find_servos(robot.bus, port)
            self._check_calibration(robot, port)
        self._to_rad, self._of_rad = _lerobots(self._units)
        for what, _ in self._registers:
            self._read_register(what)

    def read(self) -> ArmState:
        """Read the positions and one other kind of register; return the newest state.

        While the servos hold, implausible positions raise DriverError, because an encoder may have
        slipped or the answers may belong to another request. Positions that are plausible only as a
        continuation of implausible ones also raise it.
        """
        seen = self._asked("Present_Position", normalize=True)
        now_s = time.monotonic()
        position = self._to_rad(seen)
        if problem := self._problem(position, now_s):
            self._doubted, self._doubted_s = position, now_s
            raise DriverError(problem)
        self._doubted = None
        if self._position is not None:
            passed_s = max(now_s - self._read_s, 1e-4)
            share = passed_s / (passed_s + _SMOOTHED_S)
            self._velocity += share * ((position - self._position) / passed_s - self._velocity)
        self._position, self._read_s = position, now_s
        self._turn = (self._turn + 1) % len(self._registers)
        self._read_register(self._registers[self._turn][0])
        other = self._other
        stall_nm = np.tile(self._arm.stall_nm, len(self._robots))
        return ArmState(
            tick=int(1e3 * now_s) % TICKS,
            configured=self._configured and not self._limp,
            joint_pos=position,
            joint_vel=self._velocity.copy(),
            joint_effort=1e-3 * other["load"] * stall_nm,
            temperature_c=other["temperature"],
            voltage_v=0.1 * other["voltage"],
            status=other["status"].astype(np.int64),
            holds=other["holds"] != 0.0,
        )

    def _problem(self, position: F64, now_s: float) -> str:
        """Return why positions [n], rad, cannot be right, or an empty string."""
        if self._position is None or not self._configured or self._limp:
            return ""
        since_s = now_s - self._doubted_s
        if self._doubted is not None and not self._bounds.jump(self._doubted, position, since_s):
            # They continue implausible positions, and do not become plausible because time passes.
            return self._bounds.jump(self._position, position, 0.0)
        return self._bounds.jump(self._position, position, now_s - self._read_s)

    def prepare(self) -> None:
        """Configure the servos as LeRobot does, with the settings' gains, and make them hold."""
        # `configure` switches the torque on again
        self._aim_where_it_is()
        for robot in self._robots:
            _again(_lerobots, robot.configure)
            self._set_gains(robot)
        self._send(self._held)
        self._configured, self._limp = True, False
        _again(self._read_register, "holds")

    def go(self, goal: F64) -> None:
        """Send goals [n], rad, to the servos.

        NaN makes a joint hold its position; LIMP for all joints makes them limp. Goals are clipped
        to `max_relative_target_rad` around the measured positions. While the measured positions are
        implausible, nothing is sent, so the servos keep their goals.
        """
        if not self._configured or self._position is None:
            return
        limp = goal == LIMP
        if limp.all() or self._limp:
            self._let_go(limp=bool(limp.all()))
        if self._limp or self._doubted is not None:
            return
        goal = np.where(limp, np.nan, goal)
        held = np.isnan(goal)
        self._held = np.where(held & np.isnan(self._held), self._position, self._held)
        wanted = np.where(held, self._held, goal)
        self._held = np.where(held, self._held, np.nan)
        reach = self._settings.max_relative_target_rad
        self._send(np.clip(wanted, self._position - reach, self._position + reach))

    def _let_go(self, *, limp: bool) -> None:
        """Make all servos limp, or make them hold their positions again."""
        if limp is self._limp:
            return
        if not limp:
            self._aim_where_it_is()
        for robot in self._robots:
            change = robot.bus.disable_torque if limp else robot.bus.enable_torque
            _lerobots(change, num_retry=_TRIES)
        self._read_register("holds")
        self._limp = limp

    def _aim_where_it_is(self) -> None:
        """Read the positions, and set them as goals.

        Each servo confirms its goal, so it is then safe to switch torque on.
        """
        _again(self.read)
        assert self._position is not None
        self._held = self._position.copy()
        for robot, goals in zip(self._robots, self._by_joint(self._held), strict=True):
            for joint, goal in goals.items():
                _lerobots(robot.bus.write, "Goal_Position", joint, goal, num_retry=_TRIES)

    def give_back(self) -> None:
        """Make the servos hold or go limp, as `way_out` specifies."""
        self._configured = False
        if self._settings.way_out == TORQUE_OFF:
            for robot in self._robots:
                _lerobots(robot.bus.disable_torque, num_retry=_TRIES)
        if self._robots:
            self._read_register("holds")

    def close(self) -> None:
        """Close each bus, and leave the servos as they are."""
        for robot in self._robots:
            # ignore errors while closing a port: it is opened again
            with suppress(Exception):
                robot.bus.disconnect(disable_torque=False)
        self._robots = []

    def _unknown(self) -> tuple[F64, F64, dict[str, F64]]:
        """Return the velocities, held positions and register values to use before any reading."""
        zeros, unknown = (np.full(len(self._arm.joint_names), value) for value in (0.0, np.nan))
        other = {
            "load": zeros,
            "holds": zeros,
            "status": zeros,
            "temperature": unknown,
            "voltage": unknown,
        }
        return zeros.copy(), unknown, other

    def _made(self, side: str, port: str) -> Any:
        """Create LeRobot's robot object for one side, without connecting it."""
        settings, arm = self._settings, self._arm
        try:
            robots = import_module("lerobot.robots")
            import_module(arm.module)
        except ImportError as error:
            raise DriverError(
                f"cannot import LeRobot in {sys.executable}: {error}; set lerobot_python to the "
                "Python executable of LeRobot's environment"
            ) from None
        config = robots.RobotConfig.get_choice_class(arm.robot_type)(
            id="_".join(filter(None, [settings.calibration_id, side.rstrip("_")])),
            calibration_dir=Path(settings.calibration_dir) if settings.calibration_dir else None,
            port=port,
            use_degrees=True,
            disable_torque_on_disconnect=False,
        )
        robot = robots.make_robot_from_config(config)
        if not robot.calibration:
            raise DriverError(
                f"expected a calibration at {robot.calibration_fpath}, found none; "
                + self._calibrate(robot, port)
            )
        return robot

    def _check_calibration(self, robot: Any, port: str) -> None:
        """Raise DriverError unless the servos' calibration matches the calibration file."""
        found = _again(_lerobots, robot.bus.read_calibration)
        different = [
            f"{key} of {joint} is {getattr(expected, key)} in the file, "
            f"{getattr(found[joint], key)} in the servo"
            for joint, expected in robot.calibration.items()
            for key in _CHECKED
            if joint in found and getattr(expected, key) != getattr(found[joint], key)
        ]
        if different or set(found) != set(robot.calibration):
            reasons = "; ".join(different[:_SHOWN]) or "the file names other joints"
            more = f" and {len(different) - _SHOWN} more" if len(different) > _SHOWN else ""
            raise DriverError(
                f"{port}: expected servos with the calibration from {robot.calibration_fpath}, "
                "found "
                f"a different arm or calibration: {reasons}{more}; " + self._calibrate(robot, port)
            )

    def _calibrate(self, robot: Any, port: str) -> str:
        return (
            "set calibration_id to this arm's ID, or run lerobot-calibrate "
            f"--robot.type={self._arm.robot_type} --robot.port={port} --robot.id={robot.id}"
        )

    def _units(self) -> tuple[Callable[[F64], F64], Callable[[F64], F64]]:
        """Return two functions: from LeRobot's units to rad, and from rad to LeRobot's units."""
        # imported here, because only the process that opens servos needs them
        from policy_core.bundle.chunk_contract import JointUnit
        from policy_core.members.chunk.normalise import Units

        units = {}
        for joint, (low_rad, high_rad) in self._arm.range_rad.items():
            units[joint] = (
                JointUnit(unit="range_0_100", low_rad=low_rad, high_rad=high_rad)
                if joint == GRIPPER
                else JointUnit(unit="degrees")
            )
        made = Units(units, list(self._arm.range_rad) * len(self._arm.sides))
        return made.to_rad, made.of_rad

    def _send(self, position_rad: F64) -> None:
        for robot, goals in zip(self._robots, self._by_joint(position_rad), strict=True):
            _lerobots(robot.send_action, {f"{joint}.pos": goal for joint, goal in goals.items()})

    def _by_joint(self, position_rad: F64) -> list[dict[str, float]]:
        """Return each robot's positions in LeRobot's units, by joint."""
        rows = self._of_rad(position_rad).reshape(len(self._robots), -1).tolist()
        return [dict(zip(self._arm.range_rad, row, strict=True)) for row in rows]

    def _set_gains(self, robot: Any) -> None:
        settings = self._settings
        gains = settings.servo_p, settings.servo_i, settings.servo_d
        for name, gain in zip(self._arm.servo.gains, gains, strict=True):
            for joint in self._arm.range_rad if gain >= 0 else ():
                _lerobots(robot.bus.write, name, joint, gain, num_retry=_TRIES)

    def _read_register(self, what: str) -> None:
        self._other[what] = self._asked(dict(self._registers)[what], normalize=False)

    def _asked(self, register: str, *, normalize: bool) -> F64:
        """Read a register of all servos [n]; normalized positions are in LeRobot's units.

        The servo libraries give up after 34 or 50 ms, and mistake a late answer for the answer to
        the next request, for example a load for a position. Servos answer in the order in which a
        request lists them; each request uses a different order, so that its answers can be
        recognized.
        """
        values: list[float] = []
        for robot in self._robots:
            bus, order = robot.bus, next(self._orders)
            self._answered.clear()
            try:
                found = _lerobots(bus.sync_read, register, list(order), normalize=normalize)
                if self._answered != [bus.motors[joint].id for joint in order]:
                    raise DriverError(
                        f"{register}: expected answers from {', '.join(order)}, found late "
                        "answers to an earlier request"
                    )
            except DriverError:
                time.sleep(_LATE_S)  # most late answers have arrived by then
                raise
            values += [found[joint] for joint in self._arm.range_rad]
        return np.array(values, np.float64)

    def _listen(self, bus: Any) -> None:
        """Make a bus discard old answers before each request and record which servos answer."""
        port, packets, number_at = bus.port_handler, bus.packet_handler, self._arm.servo.number_at
        receive = packets.rxPacket

        def note(*args: Any) -> tuple[Any, int]:
            packet, result = receive(*args)
            if result == _SUCCESS:
                self._answered.append(packet[number_at])
            return packet, result

        # The libraries call `clearPort` before each request; their own version clears only output.
        port.clearPort = lambda: port.ser.reset_input_buffer()
        packets.rxPacket = note


def _find_servos(bus: Any, port: str) -> None:
    """Open a bus and check each servo: LeRobot's own check reports faulty servos as missing."""
    _lerobots(bus.connect, handshake=False)
    problems = []
    for joint, motor in bus.motors.items():
        expected = bus.model_number_table[motor.model]
        try:
            found = _lerobots(bus.ping, joint, num_retry=_TRIES, raise_on_error=True)
        except DriverError as error:
            problems.append(f"{joint} (ID {motor.id}): {error}")
        else:
            if found != expected:
                problems.append(
                    f"{joint} (ID {motor.id}): expected model {expected}, found {found}"
                )
    if problems:
        none = len(problems) == len(bus.motors)
        remedy = "; check power, cable and baud rate (lerobot-setup-motors)" if none else ""
        raise DriverError(f"{port}: " + "; ".join(problems) + remedy)


def _again(call: Callable[..., T], *args: Any) -> T:
    """Return the result of a call; retry on errors, since a servo's answer may be lost."""
    for _ in range(_TRIES - 1):
        with suppress(DriverError):
            return call(*args)
    return call(*args)


def _lerobots(call: Callable[..., T], *args: Any, **named: Any) -> T:
    """Return the result of a call to LeRobot; raise its errors as DriverError."""
    try:
        return call(*args, **named)
    except DriverError:
        raise
    # LeRobot and the servo libraries raise errors of any type
    except Exception as error:  # noqa: BLE001
        raise DriverError(" ".join(str(error).split()) or repr(error)) from None
