# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The parameters of the operator node, and the settings derived from them."""

from collections.abc import Mapping
from typing import Any

from policy_inference.nodes.parameters import Spec
from robot_operator.pilot import NO_BUTTON, JoystickLayout, PilotSettings, VelocityLimits
from robot_operator.requests import OperatorError, OperatorRequest

STOP, ESTOP = "stop", "estop"
_LAST_INDEX = 63

# Axes and buttons as numbered by the joy package's joy_node for an Xbox pad, or a pad for which
# Linux uses the driver `xpad`.
_BUTTONS = {
    OperatorRequest.STAND: (0, "A"),
    OperatorRequest.ESTOP: (1, "B"),
    OperatorRequest.DAMP: (2, "X"),
    OperatorRequest.RUN: (3, "Y"),
    OperatorRequest.SWITCH: (5, "RB"),
    OperatorRequest.RELEASE_CONTROL: (6, "back"),
    OperatorRequest.TAKE_CONTROL: (7, "start"),
    OperatorRequest.RESET: (8, "guide"),
    # not every pad has more buttons
    OperatorRequest.LESS_AUTHORITY: (NO_BUTTON, "none"),
    OperatorRequest.MORE_AUTHORITY: (NO_BUTTON, "none"),
    OperatorRequest.TAKE_OVER: (NO_BUTTON, "none; 9 is the left stick, pressed"),
    OperatorRequest.HAND_BACK: (NO_BUTTON, "none; 10 is the right stick, pressed"),
}


def _axis(name: str, default: int, doc: str) -> Spec:
    return Spec(name=name, type=int, default=default, minimum=0, maximum=_LAST_INDEX, doc=doc)


def _button(name: str, default: int, doc: str) -> Spec:
    return Spec(
        name=name,
        type=int,
        default=default,
        minimum=NO_BUTTON,
        maximum=_LAST_INDEX,
        doc=f"{doc}; {NO_BUTTON}: no such button",
    )


def _positive(name: str, default: float, doc: str, maximum: float = 100.0) -> Spec:
    return Spec(name=name, type=float, default=default, minimum=0.01, maximum=maximum, doc=doc)


PARAMETERS = (
    Spec(
        name="policy_node",
        type=str,
        default="joint_policy_node",
        doc="Name of the node that runs the policy, relative to the namespace",
    ),
    Spec(
        name="driver_node",
        type=str,
        default="lite3_driver",
        doc="Name of the robot's driver; optional",
    ),
    _positive("max_vx_mps", 0.5, "Largest velocity forwards and backwards, m/s"),
    _positive("max_vy_mps", 0.3, "Largest velocity sideways, m/s"),
    _positive("max_wz_radps", 0.8, "Largest yaw rate, rad/s"),
    _positive("acceleration_mps2", 1.0, "Change of vx and vy away from zero, m/s^2"),
    _positive("deceleration_mps2", 3.0, "Change of vx and vy toward zero, m/s^2"),
    _positive("acceleration_radps2", 2.0, "Change of the yaw rate away from zero, rad/s^2"),
    _positive("deceleration_radps2", 6.0, "Change of the yaw rate toward zero, rad/s^2"),
    Spec(
        name="command_rate_hz",
        type=float,
        default=20.0,
        minimum=5.0,
        maximum=100.0,
        doc="Rate of cmd_vel while the robot is up, Hz",
    ),
    _positive("joy_timeout_s", 0.5, "Silence of a joystick after which it counts as lost, s", 5.0),
    _positive(
        "joy_unchanged_s",
        10.0,
        "Time without a change in deflection after which a joystick counts as frozen and no longer "
        "drives, s",
        3600.0,
    ),
    Spec(
        name="lost_joystick",
        type=str,
        default=STOP,
        choices=(STOP, ESTOP),
        doc="Reaction to the loss of the joystick: zero velocity, or an e-stop as well",
    ),
    Spec(
        name="deadband",
        type=float,
        default=0.1,
        minimum=0.0,
        maximum=0.5,
        doc="Dead band of each axis, as a share of its range",
    ),
    _axis("axis_vx", 1, "Axis of vx (left stick, up is positive)"),
    _axis("axis_vy", 0, "Axis of vy (left stick, left is positive)"),
    _axis("axis_wz", 3, "Axis of the yaw rate (right stick, left is positive)"),
    *(
        Spec(name=f"invert_{name}", type=bool, default=False, doc=f"True: negate {name}")
        for name in ("vx", "vy", "wz")
    ),
    Spec(
        name="button_deadman",
        type=int,
        default=4,
        minimum=0,
        maximum=_LAST_INDEX,
        doc="Dead-man's switch (LB): hold it to drive, and for requests that move the robot",
    ),
    *(
        _button(f"button_{request.value}", index, f"Button of `{request.value}` ({label})")
        for request, (index, label) in _BUTTONS.items()
    ),
    Spec(
        name="key_timeout_s",
        type=float,
        default=0.6,
        minimum=0.2,
        maximum=2.0,
        doc="Time without a repeat after which a terminal key counts as released, s",
    ),
    Spec(
        name="key_share",
        type=float,
        default=0.5,
        minimum=0.1,
        maximum=1.0,
        doc="Initial velocity commanded by a key, as a share of the largest velocity",
    ),
    Spec(
        name="screen",
        type=bool,
        default=True,
        doc="Show a screen if there is a terminal",
    ),
    Spec(
        name="autostart",
        type=bool,
        default=True,
        doc="True: configure and activate at the start",
    ),
)


def pilot_settings(values: Mapping[str, Any]) -> PilotSettings:
    """Return the pilot's settings.

    Args:
        values: Values of all PARAMETERS, by name.
    """
    layout = JoystickLayout(
        axis_vx=values["axis_vx"],
        axis_vy=values["axis_vy"],
        axis_wz=values["axis_wz"],
        inverted=(values["invert_vx"], values["invert_vy"], values["invert_wz"]),
        deadband=values["deadband"],
        button_deadman=values["button_deadman"],
        buttons={request: values[f"button_{request.value}"] for request in _BUTTONS},
    )
    if problems := layout.problems():
        raise OperatorError(*problems)
    limits = VelocityLimits(**{name: values[name] for name in VelocityLimits.__dataclass_fields__})
    return PilotSettings(
        limits=limits,
        layout=layout,
        joy_timeout_s=values["joy_timeout_s"],
        joy_unchanged_s=values["joy_unchanged_s"],
        estop_if_lost=values["lost_joystick"] == ESTOP,
        key_timeout_s=values["key_timeout_s"],
        key_share=values["key_share"],
    )
