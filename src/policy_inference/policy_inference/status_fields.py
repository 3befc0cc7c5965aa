# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A robot's status fields, each defined once: name, unit, meaning, kind.

`~/status`, `/diagnostics`, the metrics for Prometheus and their table in the documentation
(`make docs`) are views of this table; a test compares it with the messages.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import partial
from typing import Any

from policy_core.interfaces import Mode
from policy_inference.machine.machine import number_in


class MetricKind(Enum):
    """How a field is represented in Prometheus."""

    NONE = "none"
    GAUGE = "gauge"
    COUNTER = "counter"
    COUNTS = "counts"
    """One counter per entry of a list of messages with a `count`."""
    STATE = "state"
    """One sample per state, labeled with the field's name; 1 for the current state."""
    LABEL = "label"
    """A label of the group's `info`."""

    @property
    def is_counter(self) -> bool:
        """True if the metric only increases, and its name ends in `_total`."""
        return self in (MetricKind.COUNTER, MetricKind.COUNTS)


@dataclass(frozen=True, slots=True)
class StatusField:
    """Definition of one status field.

    Attributes:
        name: Field of the message, or key in `/diagnostics` if no message contains it.
        doc: Meaning, one line.
        unit: Unit; empty for none.
        shown: Format in `/diagnostics`; None to omit the field.
        key: Key in `/diagnostics`, after the group's, if it differs from the name.
        kind: Kind of metric.
        metric: Metric name without the prefix `policy_inference_` and the suffix `_total`; for a
            LABEL, the label name.
        labels: Labels with a fixed value.
        labels_from: Name of the field that holds a label's value, by label; for COUNTS, a field of
            each entry. If this field and the label's are lists, each entry becomes a sample.
        states: Names of a STATE's states, indexed by a numeric value; empty if the message lists
            `states`.
        number: Converts the field's value to the metric's; returns None for no sample.
        part: Fields of each entry, if the value is a list of messages.
    """

    name: str
    doc: str
    unit: str = ""
    shown: str | None = None
    key: str = ""
    kind: MetricKind = MetricKind.NONE
    metric: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    labels_from: Mapping[str, str] = field(default_factory=dict)
    states: Sequence[str] = ()
    number: Callable[[Any], float | None] = float
    part: StatusGroup | None = None


@dataclass(frozen=True, slots=True)
class StatusGroup:
    """The status fields in one message.

    Attributes:
        fields: Fields in the order of the message.
        message: Message type; empty for fields from elsewhere.
        key: Prefix of the keys of these fields in `/diagnostics`.
        info: Name and meaning of the metric with the labels; `_info` is appended to the name.
    """

    fields: Sequence[StatusField]
    message: str = ""
    key: str = ""
    info: tuple[str, str] | None = None


def diagnostic_values(group: StatusGroup, message: Any) -> Iterator[tuple[str, str]]:
    """Yield the keys and values of a message for `/diagnostics`."""
    for each in group.fields:
        value, key = getattr(message, each.name), f"{group.key}{each.key or each.name}"
        if each.part is not None:
            for entry in value:
                yield from diagnostic_values(each.part, entry)
        elif each.shown is None:
            continue
        elif each.kind is MetricKind.COUNTS:
            yield from ((f"{key}.{rule.name}", str(rule.count)) for rule in value)
        elif each.states and isinstance(value, int):
            yield key, each.states[value]
        else:
            yield key, str(value) if isinstance(value, bool) else format(value, each.shown)


def _metric(
    kind: MetricKind, metric: str, name: str, doc: str, unit: str = "", **more: Any
) -> StatusField:
    return StatusField(name, doc, unit, kind=kind, metric=metric, **more)


_gauge, _counter = partial(_metric, MetricKind.GAUGE), partial(_metric, MetricKind.COUNTER)
_state, _label = partial(_metric, MetricKind.STATE), partial(_metric, MetricKind.LABEL)


def _guard(metric: str, doc: str) -> StatusField:
    by = {"rule": "name"}
    return _metric(
        MetricKind.COUNTS, metric, "guard_counters", doc, shown="", key="guard", labels_from=by
    )


def _latency(name: str, quantile: str, doc: str, **more: Any) -> StatusField:
    number: Callable[[float], float | None] = lambda found_s: found_s or None  # noqa: E731
    labels = {"quantile": quantile}
    return _gauge("latency_seconds", name, doc, "s", labels=labels, number=number, **more)


def _shadow_tick(name: str, doc: str, shown: str | None = "") -> StatusField:
    labels, key = {"outcome": name}, f"ticks_{name}"
    return _counter("shadow_ticks", name, doc, labels=labels, key=key, shown=shown)


def _distance(statistic: str, unit: str, doc: str) -> StatusField:
    name, by = f"shadow_distance{unit}", {"joint": "joints"}
    labels = {"statistic": statistic}
    return _gauge(name, f"{statistic}{unit}", doc, labels=labels, labels_from=by)


_BUNDLE = (
    _label("bundle", "bundle_name", "Name in the contract"),
    _label("version", "bundle_version", "Version in the contract"),
)
_RUNS_ON = "Device and precision, as reported by the runtime"
_INPUT = {"input": "name"}

INPUT = StatusGroup(
    (
        StatusField("name", "Topic before remapping"),
        _gauge(
            "input_age_seconds",
            "age_s",
            "Age of the newest message of an input; +Inf if none has arrived",
            "s",
            labels_from=_INPUT,
        ),
        StatusField("publishers", "Publishers that match at present"),
        _gauge("input_ok", "ok", "1 while the input may be used", labels_from=_INPUT),
        StatusField("text", "Why the input may not be used"),
    ),
    "InputStatus",
)

SHADOW = StatusGroup(
    (
        StatusField("bundle", "Path of the bundle's folder"),
        *_BUNDLE,
        _label("sha256", "bundle_sha256", "SHA-256 of the policy.yaml", shown=""),
        _label("backend", "backend", "Registered name of the back end"),
        StatusField("runs_on", _RUNS_ON),
        _label("mode", "mode", "State from which the shadow continues", shown=""),
        _gauge("shadow_ok", "problem", "1 while the shadow answers", number=lambda why: not why),
        _shadow_tick("compared", "Ticks of the shadow, by outcome"),
        _shadow_tick("skipped", "Ticks for which the shadow was late"),
        _shadow_tick("lost", "Ticks that a late shadow never received"),
        _shadow_tick("failed", "Ticks in which the shadow's runtime failed"),
        _shadow_tick("not_finite", "Ticks in which a model output was NaN or infinite"),
        _shadow_tick("beyond_limits", "Compared ticks with a target beyond a limit", None),
        StatusField("duration_mean_s", "Mean duration of the shadow's ticks", "s"),
        _gauge("shadow_tick_seconds", "duration_max_s", "Longest tick of the shadow", "s"),
        _guard("shadow_guard", "How often the guard would have acted on the shadow, by rule"),
        StatusField("joints", "The robot's joint names"),
        *(
            _distance(each, unit, f"Distance of the shadow's targets from the active ones, {doc}")
            for unit, doc in (("", "rad, rad/s or N·m"), ("_steps", "in steps of a healthy run"))
            for each in ("mean", "rms", "max")
        ),
    ),
    "ShadowStatus",
    "shadow.",
    ("shadow", "1 while a shadow policy runs"),
)

TRIAL = StatusGroup(
    (
        _label("version", "version", "Version on trial", shown=""),
        _label("version_before", "version_before", "Version in use before the trial"),
        _state(
            "trial_state",
            "state",
            "1 for the state of the newest trial, 0 for the others",
            shown="",
            labels_from={"version": "version"},
            states=("open", "passed", "failed", "kept", "ended"),
        ),
        StatusField("reason", "Why the trial failed or ended"),
        _gauge("trial_run_seconds", "run_time_s", "RUN time of the newest trial", "s", shown=".1f"),
        _gauge("trial_run_limit_seconds", "run_time_limit_s", "RUN time of the whole trial", "s"),
        _label("gate", "gate", "Gate that was exceeded"),
        StatusField("value", "Value that exceeded the gate, in the unit in its name"),
        StatusField("limit", "Limit of the gate, in the unit in its name"),
    ),
    "TrialStatus",
    "trial.",
    ("trial", "1 for the newest trial of the bundle"),
)

SET = StatusGroup(
    (
        _state(
            "set_state",
            "state",
            "1 for the policy set's state in command, 0 for its other states",
            shown="",
        ),
        StatusField("states", "All states of the set"),
        StatusField("blending", "Whether the targets of two states are being blended"),
        StatusField("asked", "Requested state that has not been entered yet", shown=""),
        StatusField("refused", "Why the last request was not granted", shown=""),
        _counter(
            "set_switches", "switches", "Switches between states since configuration", shown=""
        ),
        _counter("set_fallbacks", "fallbacks", "Switches because a member failed", shown=""),
        StatusField("last_from", "State before the last switch"),
        StatusField("last_to", "State after the last switch"),
        StatusField("last_reason", "Reason for the last switch"),
        _gauge(
            "set_last_step_ratio",
            "last_step_ratio",
            "Largest step of a joint's target in the last switch, as a share of a healthy run's",
            shown=".2f",
        ),
    ),
    "SetStatus",
    "set.",
)

POLICY = StatusGroup(
    (
        StatusField("stamp", "Time of the status"),
        _state(
            "mode",
            "mode",
            "1 for the mode, 0 for the others",
            shown="",
            states=[mode.name for mode in Mode],
        ),
        StatusField("reason", "Why the node is in this mode", shown=""),
        _gauge("latched", "latched", "1 while a fault is latched, until it is reset"),
        _gauge(
            "authority",
            "authority",
            "The policy's share of the command, the lowest of all joints",
            shown="g",
        ),
        StatusField("bundle", "Path of the bundle's folder", shown=""),
        *_BUNDLE,
        _label("sha256", "bundle_sha256", "SHA-256 of the policy.yaml"),
        _label("backend", "backend", "Registered name of the back end", shown=""),
        StatusField("runs_on", _RUNS_ON, shown=""),
        StatusField("fallback", "Why preferred back ends could not be opened", shown=""),
        StatusField("nominal_known", "Whether the contract has `nominal`", shown=""),
        _gauge("rate_asked_hertz", "rate_hz", "Tick rate in the contract", "Hz", shown="g"),
        _gauge(
            "rate_hertz", "rate_reached_hz", "Tick rate over the last second", "Hz", shown=".1f"
        ),
        _latency("latency_p50_s", "0.5", "Time from sampling to command, latest 1000 ticks"),
        _latency("latency_p99_s", "0.99", "99th percentile of this time", shown=".6f"),
        _latency("latency_max_s", "1", "Maximum of this time"),
        _counter("ticks", "ticks", "Ticks since activation"),
        _counter(
            "ticks_missed", "ticks_missed", "Deadlines at which no tick could start", shown=""
        ),
        _guard("guard", "How often the guard acted; every rule has a sample, starting at 0"),
        StatusField("inputs", "Inputs of the contract", part=INPUT),
        StatusField("telemetry", "Telemetry of machine and device, with the unit in the key"),
        StatusField("shadow", "At most one", part=SHADOW),
        StatusField("trial", "At most one", part=TRIAL),
        StatusField("policy_set", "At most one", part=SET),
        _state(
            "success",
            "success",
            "1 for the state of the success signal, 0 for the others",
            shown="",
            states=("not_watched", "awaited", "reached"),
        ),
    ),
    "PolicyStatus",
    info=("", "1 for the policy that the node runs"),
)

DRIVER = StatusGroup(
    (
        StatusField("stamp", "Time of the status"),
        _state(
            "driver_state",
            "state",
            "1 for the state of the driver, 0 for the others",
            states=("LISTENING", "TAKING", "FOLLOWING", "DAMPING", "RELEASING"),
        ),
        StatusField("reason", "Why the driver is in this state"),
        StatusField("obstacles", "Reasons to refuse control now"),
        *(
            _gauge(
                "driver_rate_hertz",
                name,
                "Frames per second, over the last second",
                "Hz",
                labels={"frames": way},
            )
            for name, way in (("state_rate_hz", "from_robot"), ("command_rate_hz", "to_robot"))
        ),
        _gauge(
            "driver_largest_gap_seconds",
            "largest_gap_s",
            "Longest time between two commands since control was taken",
            "s",
        ),
        StatusField("latency_p50_s", "Median time from a command to its first frame", "s"),
        StatusField("latency_p99_s", "99th percentile of this time", "s"),
        StatusField("joint_names", "Names of the drives"),
        _gauge(
            "joint_temperature_celsius",
            "temperature_c",
            "Temperature of each drive, if the robot reports it",
            "°C",
            labels_from={"joint": "joint_names"},
        ),
        StatusField("details", "Other values, with the unit in the key"),
    ),
    "RobotStatus",
)

BATTERY = StatusGroup(
    (
        _gauge("battery_ratio", "percentage", "Charge (1: full), if `battery_state` is published"),
        _gauge("battery_volts", "voltage", "Voltage, if `battery_state` is published", "V"),
    )
)
"""Fields from sensor_msgs/BatteryState."""

UP = StatusGroup(
    (
        _gauge("up", "up", "1 while the node publishes its status"),
        _gauge(
            "status_age_seconds", "age_s", "Age of the newest status; +Inf if none has arrived", "s"
        ),
    )
)
"""Fields that exist even for a node that is down."""

EXPORTED = StatusGroup(
    (
        _gauge(
            "version_since_timestamp_seconds",
            "version_since_s",
            "Unix time at which the exporter first saw this version",
            "s",
        ),
        _counter(
            "mode_seconds",
            "mode_s",
            "Time in each mode with this version, from one status to the next",
            "s",
            labels_from={"mode": "modes"},
        ),
    )
)
"""Values that the exporter derives from a sequence of statuses."""

DIAGNOSED = StatusGroup(
    (
        _gauge("diagnostics_level", "level", "0 OK, 1 WARN, 2 ERROR"),
        _gauge(
            "drifted_terms",
            "drifted_terms",
            "Observation terms that are often outside their training range",
            number=lambda terms: len([*filter(None, (terms or "").split(", "))]),
        ),
        _gauge(
            "revoked",
            "revoked",
            "1 if a signed statement on the robot has revoked the version",
            number=lambda text: text is not None,
        ),
        *(
            _gauge(metric, key, doc, unit, number=lambda text: number_in(text or ""))
            for metric, key, doc, unit in (
                ("chunk_rate_hertz", "chunk.rate_hz", "Chunks per second", "Hz"),
                ("chunk_steps_left", "chunk.steps_left", "Remaining steps of the chunk", ""),
                (
                    "chunk_inference_p99_seconds",
                    "chunk.inference_p99_s",
                    "99th percentile of the inference time of a chunk",
                    "s",
                ),
            )
        ),
    )
)
"""Values in `/diagnostics` that no message contains, by key."""
