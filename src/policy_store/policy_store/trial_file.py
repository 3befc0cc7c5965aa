# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`trial.yaml`: duration of a trial, stricter limits during it, and the gates that end it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_core.bundle.contract import JointContract, VelocityCommand
from policy_core.bundle.schema import Found, Reader, entry, json_schema, parse_yaml
from policy_core.bundle.set_contract import HostedContract
from policy_core.errors import BundleError, PolicyError
from policy_core.guard.limits import StricterLimits, limits_in_force

_TILT = "with safety.max_tilt_rad"
_VELOCITIES = "of kind joint that measures joint velocities"
_POSITIONS = "that commands positions"
_COMMANDED = "of kind joint with velocity_command"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGate:
    """Gate: a quantity of the running robot that ends the trial when it exceeds its limit.

    A key that `trial.yaml` leaves out keeps the default of its gate.
    """

    limit: float = entry("highest acceptable value", minimum=0)
    after_s: float = entry("RUN time of the trial after which the gate is checked, s", minimum=0)


def _trial_gate(
    about: str, limit: float, *, after_s: float, needs: str = "", clock: bool = False
) -> Any:
    """Declare a trial gate.

    Args:
        about: Description of the quantity.
        limit: Default limit.
        after_s: Default time before the first check.
        needs: Property that a policy must have for the gate to be judged.
        clock: True if the quantity reflects the machine's real-time performance, so it is not
            checked in simulated time.
    """
    declared = entry(about, default=TrialGate(limit=limit, after_s=after_s))
    metadata = {**declared.metadata, "needs": needs, "clock": clock}
    return dataclasses.field(default=declared.default, metadata=metadata)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialGates:
    """Gates by quantity; null if the quantity is not judged."""

    falls: TrialGate | None = _trial_gate(
        "latched faults from the `attitude` rule while the policy ran",
        0.0,
        after_s=0.0,
        needs=_TILT,
    )
    latched_faults: TrialGate | None = _trial_gate(
        "latched faults from any rule while the policy ran, except e-stops",
        0.0,
        after_s=0.0,
    )
    hold_share: TrialGate | None = _trial_gate(
        "share of policy ticks in HOLD, over the whole trial", 0.05, after_s=10.0
    )
    tilt_rad: TrialGate | None = _trial_gate(
        "angle between the body's up axis and the world's, rad", 0.5, after_s=0.0, needs=_TILT
    )
    tracking_error_rad: TrialGate | None = _trial_gate(
        "difference between commanded and measured position, rad: root mean square over about 5 "
        "s, for the worst joint",
        0.45,
        after_s=5.0,
        needs=_POSITIONS,
    )
    torque_share: TrialGate | None = _trial_gate(
        "torque demanded by the command as a share of the effort limit, root mean square over "
        "about 5 s, for the worst joint",
        0.6,
        after_s=5.0,
        needs=_VELOCITIES,
    )
    motion_error_share: TrialGate | None = _trial_gate(
        "difference between commanded and measured motion as a share of the commanded motion, over "
        "about 20 s: vx, vy and yaw rate with `odom`, otherwise only the yaw rate, from the IMU",
        0.75,
        after_s=10.0,
        needs=_COMMANDED,
    )
    latency_share: TrialGate | None = _trial_gate(
        "99th percentile of the tick duration, as a share of the period",
        0.9,
        after_s=10.0,
        clock=True,
    )
    missed_ticks_share: TrialGate | None = _trial_gate(
        "share of missed policy ticks, over the whole trial",
        0.02,
        after_s=10.0,
        clock=True,
    )
    temperature_c: TrialGate | None = _trial_gate(
        "highest temperature of the machine, device and drives, °C", 90.0, after_s=0.0
    )

    def judged(self, *, simulated_time: bool = False) -> dict[str, TrialGate]:
        """Return the gates that are judged, by quantity.

        Args:
            simulated_time: True if ticks follow simulated time; durations and missed ticks are then
                the simulating machine's, and are not judged.
        """
        return {
            field.name: gate
            for field in dataclasses.fields(self)
            if (gate := getattr(self, field.name)) is not None
            and not (simulated_time and field.metadata["clock"])
        }


def not_applicable(contract: HostedContract, limits: StricterLimits) -> dict[str, str]:
    """Return the property that a policy lacks, for each gate that cannot be judged for it."""
    tilts = contract.safety.max_tilt_rad is not None or limits.max_tilt_rad is not None
    has = {
        "": True,
        _TILT: tilts,
        _VELOCITIES: contract.measures_velocities,
        _POSITIONS: "position" in contract.commands,
        # the members of a set need not follow the command
        _COMMANDED: isinstance(contract, JointContract) and contract.velocity_command is not None,
    }
    needs = {field.name: field.metadata["needs"] for field in dataclasses.fields(TrialGates)}
    return {name: what for name, what in needs.items() if not has[what]}


def unchecked_gates(settings: TrialSettings, contract: HostedContract) -> tuple[str, ...]:
    """Return the gates that could be judged for a policy, but that `trial.yaml` sets to null."""
    judged, absent = settings.gates.judged(), not_applicable(contract, settings.limits)
    names = (field.name for field in dataclasses.fields(TrialGates))
    return tuple(name for name in names if name not in judged and name not in absent)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """Settings for the trial of a bundle version on a robot."""

    run_time_s: float = entry("RUN time of the whole trial, s", exclusiveMinimum=0, maximum=1e6)
    limits: StricterLimits = entry(
        "guard limits that are stricter than the contract's", default=StricterLimits()
    )
    command_range: VelocityCommand | None = entry(
        "range to which velocity commands are clipped, within the trained range", default=None
    )
    accepted_differences: tuple[str, ...] = entry(
        "contract keys whose values may differ from the version in use; a key includes all keys "
        "below it",
        default=(),
    )
    gates: TrialGates = entry("gates that end the trial", default=TrialGates())

    def stricter(self, given: StricterLimits) -> StricterLimits:
        """Return, for each limit, the stricter of the trial's value and the given value."""
        both = {
            field.name: (getattr(self.limits, field.name), getattr(given, field.name))
            for field in dataclasses.fields(StricterLimits)
        }
        known = {
            name: [value for value in values if value is not None] for name, values in both.items()
        }
        return StricterLimits(**{name: min(values) for name, values in known.items() if values})


def trial_schema() -> dict[str, Any]:
    """Return the JSON Schema for `trial.yaml`, for editors."""
    return json_schema(TrialSettings)


def settings_of_trial(content: bytes, file: Path, contract: HostedContract) -> TrialSettings:
    """Return the checked settings in a `trial.yaml`, for the policy on trial.

    Gates that cannot be judged for the policy are null in the result.

    Args:
        content: Content of the file.
        file: File path, used in messages.
        contract: The policy's contract.

    Raises:
        BundleError: The settings are invalid or do not match the policy; lists every problem.
    """
    value, reader = parse_yaml(content, file), Reader(str(file))
    settings: TrialSettings | None = reader.section(TrialSettings, value)
    if settings is not None:
        settings = _checked(settings, value, reader, contract)
    if settings is None or reader.problems:
        raise BundleError(*reader.problems)
    return settings


def _checked(
    settings: TrialSettings, value: Any, reader: Reader, contract: HostedContract
) -> TrialSettings:
    try:
        limits_in_force(contract, settings.limits)
    except PolicyError as error:
        for line in str(error).splitlines():
            reader.problem(
                f"limits.{line.partition(':')[0]}",
                "a limit within the contract's",
                Found(line.partition("found ")[2]),
            )
    _check_range(settings.command_range, reader, contract)
    absent = not_applicable(contract, settings.limits)
    stated: Mapping[str, object] = value.get("gates") or {}
    for name, why in absent.items():
        if stated.get(name) is not None:
            reader.problem(
                f"gates.{name}",
                f"a policy {why}",
                Found(f"{contract.name}, which does not qualify"),
            )
    return dataclasses.replace(
        settings, gates=dataclasses.replace(settings.gates, **dict.fromkeys(absent))
    )


def _check_range(wanted: VelocityCommand | None, reader: Reader, contract: HostedContract) -> None:
    if wanted is None:
        return
    trained = contract.velocity_command
    if trained is None:
        reader.problem(
            "command_range",
            "a policy with velocity_command",
            Found(f"{contract.name}, which has none"),
        )
        return
    rows = zip(wanted.min, wanted.max, trained.min, trained.max, strict=True)
    for i, (low, high, lowest, highest) in enumerate(rows):
        # the range must contain zero, since the command fades to zero
        if not lowest <= low <= 0.0 <= high <= highest:
            reader.problem(
                f"command_range[{i}]",
                f"a range with 0 within the trained one, [{lowest:g}, {highest:g}]",
                Found(f"[{low:g}, {high:g}]"),
            )
