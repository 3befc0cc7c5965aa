# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Format statuses as lines for a person, and name the next step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isfinite
from typing import Any

from policy_msgs.msg import (
    InputStatus,
    JointCommand,
    PolicyStatus,
    RobotStatus,
    SetStatus,
    ShadowStatus,
    TrialStatus,
)
from sensor_msgs.msg import BatteryState

from robot_operator.requests import OperatorRequest

Lines = list[tuple[str, str]]
"""Lines, each with a name and a value."""

MODES = {
    getattr(JointCommand, name): name.removeprefix("MODE_")
    for name in (
        "MODE_DAMP",
        "MODE_STAND",
        "MODE_READY",
        "MODE_RUN",
        "MODE_HOLD",
        "MODE_HOLD_MEASURED",
        "MODE_TORQUE_OFF",
    )
}
STATES = {
    getattr(RobotStatus, name): name
    for name in ("LISTENING", "TAKING", "FOLLOWING", "DAMPING", "RELEASING")
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorResult:
    """Result of a `robot_operator` action.

    Attributes:
        action: The requested action.
        policy_node, driver: Full names of the nodes that received the request; null if none.
        answer: Answer as text; empty if the statuses show the effect.
        policy: Newest policy_msgs/PolicyStatus, with the name of its `mode`; null if none.
        robot: Newest policy_msgs/RobotStatus, with the name of its `state`; null if none.
        obeyed: For estop and damp: by node name, whether the node has stopped.
    """

    action: str
    policy_node: str | None
    driver: str | None
    answer: str = ""
    policy: Mapping[str, Any] | None = None
    robot: Mapping[str, Any] | None = None
    obeyed: Mapping[str, bool] = field(default_factory=dict)


def read_fields(message: Any) -> Any:
    if hasattr(message, "get_fields_and_field_types"):
        names = message.get_fields_and_field_types()
        return {name: read_fields(getattr(message, name)) for name in names}
    if hasattr(message, "tolist"):  # arrays of numbers
        return message.tolist()
    return list(map(read_fields, message)) if isinstance(message, list) else message


def described(lines: Lines) -> list[str]:
    width = max((len(name) for name, _ in lines), default=0)
    return [f"{name:<{width}}  {value}" for name, value in lines]


def describe_mode(status: PolicyStatus) -> str:
    """Return the mode, and whether a fault is latched."""
    return f"{MODES[status.mode]}{', latched until reset' if status.latched else ''}"


def policy_lines(status: PolicyStatus) -> Lines:
    p50_ms, p99_ms, max_ms = (
        1e3 * value for value in (status.latency_p50_s, status.latency_p99_s, status.latency_max_s)
    )
    counters = [f"{entry.name} {entry.count}" for entry in status.guard_counters if entry.count]
    return [
        ("mode", describe_mode(status)),
        ("reason", status.reason),
        (
            "runs",
            f"{status.bundle_name} {status.bundle_version} on {status.backend} ({status.runs_on})",
        ),
        *(("not on", line) for line in status.fallback.splitlines()),
        ("authority", f"{status.authority:.2f} of the command is the policy's"),
        *(("state", describe_state(found)) for found in status.policy_set),
        (
            "rate",
            f"{status.rate_reached_hz:.1f} of {status.rate_hz:g} Hz, "
            f"{status.ticks_missed} of {status.ticks} ticks missed",
        ),
        ("latency", f"p50 {p50_ms:.2f} ms, p99 {p99_ms:.2f} ms, max {max_ms:.2f} ms"),
        *input_lines(status),
        ("guard", ", ".join(counters) or "has not acted"),
        *(("shadow", _shadow_text(shadow)) for shadow in status.shadow),
        *(("trial", _trial_text(trial)) for trial in status.trial),
        ("machine", ", ".join(f"{entry.key} {entry.value}" for entry in status.telemetry)),
    ]


def describe_state(found: SetStatus) -> str:
    """Describe the state of a policy set: current and requested state, switches, refusal."""
    words = [found.state, f"of {', '.join(found.states)}; switches: {found.switches}"]
    if found.fallbacks:
        words[-1] += f", fallbacks: {found.fallbacks}"
    if found.asked:
        words.append(f"; {found.asked} has been requested")
    if found.refused:
        words.append(f"; {found.refused}")
    return " ".join(words).replace(" ;", ";")


def _shadow_text(shadow: ShadowStatus) -> str:
    runs = f"{shadow.bundle_name} {shadow.bundle_version} on {shadow.backend}, {shadow.mode}"
    if shadow.problem:
        return f"{runs}: {shadow.problem}"
    distances, unit = (
        (shadow.rms_steps, "steps") if len(shadow.rms_steps) else (shadow.rms, "rad, rad/s or N·m")
    )
    worst, joint = max(zip(distances, shadow.joints, strict=True), default=(0.0, "no joint"))
    outcomes = ("compared", "skipped", "lost", "failed", "not_finite", "beyond_limits")
    counted = {name: getattr(shadow, name) for name in outcomes}
    return f"{runs}: RMS at most {worst:.3g} {unit} ({joint}); " + ", ".join(
        f"{count} {name}" for name, count in counted.items() if count or name == "compared"
    )


def _trial_text(trial: TrialStatus) -> str:
    reason = f": {trial.reason}" if trial.reason else ""
    return (
        f"{trial.version} {trial.state}{reason}; "
        f"{trial.run_time_s:.0f} of {trial.run_time_limit_s:g} s RUN time"
    )


def input_lines(status: PolicyStatus) -> Lines:
    """Return one line per input of a policy node: ok, or why the input cannot be used."""

    def state(entry: InputStatus) -> str:
        if entry.ok:
            return "ok" if entry.publishers else "no publisher, not needed now"
        return str(entry.text).removeprefix(f"{entry.name}: ")

    return [(entry.name, state(entry)) for entry in status.inputs]


def driver_lines(status: RobotStatus) -> Lines:
    why = (
        "the robot may move without a command from this driver"
        if status.state == RobotStatus.LISTENING
        else "one request makes the robot stiff"
    )
    lines = [
        (
            "people",
            "out of reach (5 m from a legged robot; only to support an arm), or hardware e-stop "
            "pressed, or power off: "
            f"{why}",
        ),
        ("driver", f"{STATES[status.state]}: {status.reason}"),
        (
            "link",
            f"{status.state_rate_hz:.0f} Hz in, {status.command_rate_hz:.0f} Hz out, "
            f"gap {1e3 * status.largest_gap_s:.1f} ms, "
            f"p50 {1e3 * status.latency_p50_s:.2f} ms, "
            f"p99 {1e3 * status.latency_p99_s:.2f} ms",
        ),
    ]
    known = [
        (degrees, name)
        for degrees, name in zip(status.temperature_c, status.joint_names, strict=True)
        if isfinite(degrees)
    ]
    if known:
        hottest_c, name = max(known)
        lines.append(("hottest", f"{name}, {hottest_c:.0f} °C"))
    return lines


def battery_lines(battery: BatteryState) -> Lines:
    """Describe the state of a battery, in which NaN marks values that are not reported."""
    words = [f"{100.0 * battery.percentage:.0f} %"] if battery.percentage >= 0.0 else []
    words += [f"{battery.voltage:.1f} V"] if battery.voltage >= 0.0 else []
    return [("battery", ", ".join(words))] if words else []


def next_step(
    policy: PolicyStatus | None, driver: RobotStatus | None
) -> tuple[OperatorRequest | None, list[str]]:
    """Return the next request needed to start walking, and whatever currently blocks it."""
    if policy is None:
        return None, ["no status arrives from the policy node"]
    troubles = [entry.text for entry in policy.inputs if entry.text]  # each begins with its input
    if policy.latched:
        return OperatorRequest.RESET, []
    damped = policy.mode == JointCommand.MODE_DAMP
    if driver is not None and driver.state != RobotStatus.FOLLOWING:
        return _find_next(driver, damped=damped)
    if damped:
        return OperatorRequest.STAND, troubles
    return (OperatorRequest.RUN, troubles) if policy.mode == JointCommand.MODE_READY else (None, [])


def way_to_follow(policy: PolicyStatus, driver: RobotStatus) -> str:
    """Return the requests after which a driver that ignores commands will follow them."""
    if driver.state in (RobotStatus.TAKING, RobotStatus.RELEASING):
        return "wait until this has finished"
    asked, _ = next_step(policy, driver)
    # A driver that damps may be waiting for its own reset, if the policy is in DAMP without a
    # fault.
    steps = [asked or OperatorRequest.RESET]
    if driver.state == RobotStatus.LISTENING and asked is not OperatorRequest.TAKE_CONTROL:
        steps.append(OperatorRequest.TAKE_CONTROL)
    return f"request {', then '.join(step.value for step in steps)}"


def _find_next(driver: RobotStatus, *, damped: bool) -> tuple[OperatorRequest | None, list[str]]:
    """Return the next step for a driver that follows nothing; `damped` if the policy is in DAMP."""
    if driver.state in (RobotStatus.LISTENING, RobotStatus.DAMPING) and not damped:
        return OperatorRequest.DAMP, []
    if driver.state == RobotStatus.LISTENING:
        return OperatorRequest.TAKE_CONTROL, list(driver.obstacles)
    return None, [driver.reason]
