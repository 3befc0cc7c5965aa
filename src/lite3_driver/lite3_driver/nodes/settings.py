# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the driver's node."""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from lite3_driver.interfaces import Settings
from policy_inference.errors import RobotError
from policy_inference.machine.scheduling import RealTime
from policy_inference.nodes.parameters import REALTIME, Spec

_DEFAULT = Settings()
_MAX_PORT = 65535
_SENSOR_RATES = ("imu_rate_hz", "contact_rate_hz")

PARAMETERS = (
    Spec(name="host_address", type=str, default=_DEFAULT.host_address,
         doc="IPv4 address of the motion host; frames from any other count as foreign"),
    Spec(name="host_port", type=int, default=_DEFAULT.host_port, minimum=1, maximum=_MAX_PORT,
         doc="UDP port where the motion host listens"),
    Spec(name="interface_address", type=str, default=_DEFAULT.interface_address,
         doc="IPv4 address of this machine to receive on; 0.0.0.0: all of them"),
    Spec(name="state_port", type=int, default=_DEFAULT.state_port, minimum=1, maximum=_MAX_PORT,
         doc="UDP port to which the motion host is configured to send its state"),
    Spec(name="command_rate_hz", type=float, default=_DEFAULT.command_rate_hz, minimum=500.0,
         maximum=1000.0, doc="Command frames while in control, steady, Hz"),
    Spec(name="joint_state_rate_hz", type=float, default=_DEFAULT.joint_state_rate_hz,
         minimum=200.0, maximum=500.0, doc="Highest rate of joint_states, Hz"),
    Spec(name="imu_rate_hz", type=float, default=200.0, minimum=1.0, maximum=500.0,
         doc="Rate of imu/data, Hz; at most that of joint_states"),
    Spec(name="contact_rate_hz", type=float, default=100.0, minimum=1.0, maximum=500.0,
         doc="Rate of contact_forces, Hz; at most that of joint_states"),
    Spec(name="angular_velocity_unit", type=str, default=_DEFAULT.angular_velocity_unit,
         choices=("rad/s", "deg/s"), doc="In which unit the host sends angular velocities"),
    Spec(name="angular_velocity_checked", type=bool, default=_DEFAULT.angular_velocity_checked,
         doc="That this unit was found right on this very robot: control may be taken without "
             "turning it first"),
    Spec(name="state_timeout_s", type=float, default=_DEFAULT.state_timeout_s, minimum=0.005,
         maximum=0.5, doc="Without a new state frame for so long, the drives damp, s"),
    Spec(name="fold_s", type=float, default=_DEFAULT.fold_s, minimum=7.0, maximum=60.0,
         doc="Time that the robot gets to fold its legs, s"),
    Spec(name="damping", type=float, default=_DEFAULT.damping, minimum=0.5, maximum=10.0,
         doc="Of the drives where nothing may be followed, N m s/rad"),
    Spec(name="max_start_error_rad", type=float, default=_DEFAULT.max_start_error_rad,
         minimum=0.01, maximum=1.0,
         doc="How far from the measured pose the first command with stiffness may be, rad"),
    Spec(name="obeyed_torque_nm", type=float, default=_DEFAULT.obeyed_torque_nm, minimum=0.0,
         maximum=24.0,
         doc="Torque above which, while the drives should damp at rest, somebody else drives them, "
             "N m; 0: no such check"),
    *REALTIME,
    Spec(name="status_rate_hz", type=float, default=5.0, minimum=0.1, maximum=50.0,
         doc="Rate of ~/status and /diagnostics, Hz"),
    Spec(name="autostart", type=bool, default=True,
         doc="Configure and activate at once; the robot never moves by itself"),
)  # fmt: skip


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Return what the process of the socket is told.

    Raises:
        PolicyError: `realtime.cpus` is no list of cores.
        RobotError: A sensor is asked for more often than the state that it is part of.
    """
    highest_hz = values["joint_state_rate_hz"]
    problems = [f"parameter {name}: expected at most joint_state_rate_hz ({highest_hz:g}), found "
                f"{values[name]:g}" for name in _SENSOR_RATES if values[name] > highest_hz]
    if problems:
        raise RobotError("\n".join(problems))
    named = {field.name: values[field.name] for field in fields(Settings) if field.name in values}
    return Settings(**named, realtime=RealTime.of(values))
