# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Parameters for the joint policy node, including those that it shares with other nodes."""

from dataclasses import fields

from policy_core.guard.limits import StricterLimits
from policy_core.interfaces import ShadowMode
from policy_inference.kinds.opening import NATIVE, PYTHON
from policy_inference.nodes.outputs import CHUNKS, OUTPUTS
from policy_inference.nodes.parameters import REALTIME, Spec

TIMER = "timer"
RAW, COMPRESSED = "raw", "compressed"
TRANSPORTS = {RAW: "image_raw", COMPRESSED: "image_raw/compressed"}
"""Topics by image transport, relative to the camera's name."""


def valid_for(default_s: float) -> Spec:
    """Return the parameter that defines how long a command is valid, with a default in s."""
    return Spec(
        name="command_valid_for_s",
        type=float,
        default=default_s,
        minimum=0.001,
        maximum=10.0,
        doc="Time for which a robot may follow a JointCommand after receiving it, s",
    )


POLICY = (
    Spec(
        name="bundle",
        type=str,
        required=True,
        doc="Folder of the policy bundle, or the name of an installed bundle: NAME, NAME@VERSION",
    ),
    Spec(
        name="public_key",
        type=str,
        default="",
        doc="PEM file (or a folder of PEM files) with keys, one of which must have signed the "
        "bundle; if POLICY_INFERENCE_PUBLIC_KEY is also set, only keys in both are trusted",
    ),
    Spec(
        name="backend",
        type=str,
        default="onnx",
        doc="Back end, or several in order of preference, comma-separated",
    ),
    Spec(
        name="backend_options",
        type=str,
        default="",
        doc="Options of back ends, comma-separated: rknn.core_mask=0_1,tensorrt.build=yes",
    ),
    Spec(
        name="output",
        type=str,
        default="joint_command",
        choices=(*OUTPUTS, CHUNKS),
        doc="Kind of message that is published; action_chunk: no commands (another node executes "
        "the chunks)",
    ),
)
LOOP = Spec(
    name="realtime.loop",
    type=str,
    default=NATIVE,
    choices=(NATIVE, PYTHON),
    doc="Language of the control loop: C++ (if built and if it supports the policy) or Python",
)
SHADOW = (
    Spec(
        name="shadow_bundle",
        type=str,
        default="",
        doc="Policy bundle that runs as the shadow, on the same observations, and never "
        "commands; empty: none",
    ),
    Spec(
        name="shadow_backend",
        type=str,
        default="",
        doc="Back ends of the shadow, same format as `backend`; empty: the same back ends",
    ),
    Spec(
        name="shadow_mode",
        type=str,
        default=ShadowMode.FOLLOWED.value,
        choices=tuple(mode.value for mode in ShadowMode),
        doc="Previous action that the shadow sees: the active policy's last command, or its own",
    ),
)
_REPORTS = (
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
_AUTHORITY = Spec(
    name="authority",
    type=float,
    default=1.0,
    minimum=0.0,
    maximum=1.0,
    doc="The policy's share of the command in RUN until ~/set_authority changes it; the rest is "
    "the stand pose",
)
_SAFETY = tuple(
    Spec(
        name=f"safety.{field.name}",
        type=float,
        minimum=0.0,
        doc=f"Tightens the contract's safety.{field.name}; never loosens it",
    )
    for field in fields(StricterLimits)
)
_FLIGHT = (
    Spec(
        name="flight.duration_s",
        type=float,
        default=20.0,
        minimum=0.0,
        maximum=600.0,
        doc="Length of the history that the flight recorder keeps, s; 0: no flight recorder",
    ),
    Spec(
        name="flight.after_s",
        type=float,
        default=1.0,
        minimum=0.0,
        maximum=60.0,
        doc="Time after a fault that is included in its recording, s",
    ),
    Spec(
        name="flight.folder",
        type=str,
        default="",
        doc="Folder of the recordings; empty: flights below $ROS_HOME or ~/.ros",
    ),
    Spec(
        name="flight.min_free_mb",
        type=float,
        default=500.0,
        minimum=0.0,
        doc="Free space below which nothing is recorded, MB",
    ),
)

TICKS = (
    *POLICY,
    Spec(
        name="trigger",
        type=str,
        default=TIMER,
        doc="Trigger of each tick: timer, or the name of an input (ignored under use_sim_time)",
    ),
    Spec(
        name="stamped_command",
        type=bool,
        default=False,
        doc="True: cmd_vel is a TwistStamped instead of a Twist",
    ),
    valid_for(0.1),
)
ALL_NODES = (*_REPORTS, *REALTIME, LOOP, *_FLIGHT, _AUTHORITY, *_SAFETY)
PARAMETERS = (*TICKS, *SHADOW, *ALL_NODES)
"""Parameters of the joint policy node."""
