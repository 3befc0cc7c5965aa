# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""`trial.yaml`: how long a version is on trial, its tighter limits, and the gates that end it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from policy_core.bundle.bundle import HostedContract
from policy_core.bundle.contract import VelocityCommand
from policy_core.bundle.schema import Found, Reader, entry, json_schema, parse_yaml
from policy_core.errors import BundleError, PolicyError
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_inference.candidate.gates import TrialGates, not_applicable


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSettings:
    """How a version of a bundle is tried on a robot."""

    run_time_s: float = entry("RUN time of the whole trial, s", exclusiveMinimum=0, maximum=1e6)
    limits: StricterLimits = entry(
        "limits of the guard that are tighter than the contract's", default=StricterLimits()
    )
    command_range: VelocityCommand | None = entry(
        "velocity commands are clipped to this range, within the trained one", default=None
    )
    accepted_differences: tuple[str, ...] = entry(
        "keys of the contract whose values may differ from those of the version in use; a key "
        "covers all below it",
        default=(),
    )
    gates: TrialGates = entry("what ends the trial", default=TrialGates())

    def stricter(self, given: StricterLimits) -> StricterLimits:
        """Return of each limit the tighter one: the trial's or the one that was given."""
        both = {
            field.name: (getattr(self.limits, field.name), getattr(given, field.name))
            for field in dataclasses.fields(StricterLimits)
        }
        known = {
            name: [value for value in values if value is not None] for name, values in both.items()
        }
        return StricterLimits(**{name: min(values) for name, values in known.items() if values})


def trial_schema() -> dict[str, Any]:
    """Return the JSON Schema of `trial.yaml`, for editors."""
    return json_schema(TrialSettings)


def settings_of_trial(content: bytes, file: Path, contract: HostedContract) -> TrialSettings:
    """Check the content of a `trial.yaml` for the policy that is to be tried.

    Gates that do not apply to the policy are null in what is returned.

    Args:
        content: Of the file.
        file: What messages call it.
        contract: Of the policy.

    Raises:
        BundleError: With everything that is wrong; a gate that is stated and does not apply to
            this policy is wrong too.
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
            reader.problem(f"gates.{name}", f"a policy {why}", Found(f"{contract.name}, without"))
    return dataclasses.replace(
        settings, gates=dataclasses.replace(settings.gates, **dict.fromkeys(absent))
    )


def _check_range(wanted: VelocityCommand | None, reader: Reader, contract: HostedContract) -> None:
    if wanted is None:
        return
    trained = contract.velocity_command
    if trained is None:
        reader.problem(
            "command_range", "a policy with velocity_command", Found(f"{contract.name}, without")
        )
        return
    rows = zip(wanted.min, wanted.max, trained.min, trained.max, strict=True)
    for i, (low, high, lowest, highest) in enumerate(rows):
        # Zero must be in it: the command fades to zero.
        if not lowest <= low <= 0.0 <= high <= highest:
            reader.problem(
                f"command_range[{i}]",
                f"a range with 0 within the trained one, [{lowest:g}, {highest:g}]",
                Found(f"[{low:g}, {high:g}]"),
            )
