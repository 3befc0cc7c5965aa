# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What guarded a recorded flight."""

from __future__ import annotations

import dataclasses

from model_tools.errors import ToolError
from model_tools.replaying.recording import FlightRecording
from policy_inference.bundle.contract import JointContract
from policy_inference.core.limits import Limits, Tightening, limits_in_force

_PREFIX = "limits."
_FIXED = ("command_ramp_ns", "blend_ns")
"""No operator can set these."""


def limits_of(recording: FlightRecording) -> Limits:
    """Return the limits that were in force.

    Raises:
        ToolError: One is missing, or no number.
    """
    settings = recording.info.settings
    stated = {key.removeprefix(_PREFIX): text for key, text in settings.items()
              if key.startswith(_PREFIX)}  # fmt: skip
    where = f"{recording.path}: flight_info: settings: {_PREFIX}"
    values: dict[str, float | int | None] = {}
    for field in dataclasses.fields(Limits):
        text = stated.get(field.name)
        if text is None:
            # One that is off is not recorded; only that of the tilt may be.
            if field.name != "max_tilt_rad":
                raise ToolError(f"{where}{field.name}: expected the limit that was in force, "
                                "found none")
            values[field.name] = None
            continue
        try:
            values[field.name] = int(text) if field.name.endswith("_ns") else float(text)
        except ValueError as error:
            raise ToolError(f"{where}{field.name}: expected a number, found {text!r}") from error
    return Limits(**values)  # type: ignore[arg-type]  # by name, as they were recorded


def against_contract(limits: Limits, contract: JointContract) -> tuple[list[str], list[str]]:
    """Return how recorded limits break those of the recorded contract, and how they tighten them.

    A node refuses to be given looser ones: a recording with such was not made by one, or was
    changed since.
    """
    known, broken, tightened = limits_in_force(contract, Tightening()), [], []
    for field in dataclasses.fields(Limits):
        found, bound = getattr(limits, field.name), getattr(known, field.name)
        if found == bound:
            continue
        fixed = field.name in _FIXED
        may = not fixed and found is not None and found > 0 and (bound is None or found < bound)
        most = f"{bound}" if fixed else "above 0" if bound is None else f"above 0, at most {bound}"
        said = "none" if found is None else f"{found}"
        if may:
            tightened.append(f"{_PREFIX}{field.name} {said} instead of {bound}")
        else:
            broken.append(f"settings: {_PREFIX}{field.name}: expected {most}, as the contract "
                          f"says, found {said}")
    return broken, tightened
