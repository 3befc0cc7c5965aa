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


def limits_of(recording: FlightRecording, contract: JointContract) -> Limits:
    """Return the limits that were in force; those of the contract where none were recorded.

    Raises:
        ToolError: One is no number.
    """
    settings = recording.info.settings
    stated = {key.removeprefix(_PREFIX): text for key, text in settings.items()
              if key.startswith(_PREFIX)}  # fmt: skip
    known = limits_in_force(contract, Tightening())
    if not stated:
        return known
    values: dict[str, float | int | None] = {}
    for field in dataclasses.fields(Limits):
        text = stated.get(field.name)
        if text is None:
            # One that is off is not recorded; only that of the tilt may be.
            off = field.name == "max_tilt_rad"
            values[field.name] = None if off else getattr(known, field.name)
            continue
        try:
            values[field.name] = int(text) if field.name.endswith("_ns") else float(text)
        except ValueError as error:
            raise ToolError(f"{recording.path}: flight_info: settings: {_PREFIX}{field.name}: "
                            f"expected a number, found {text!r}") from error
    return Limits(**values)  # type: ignore[arg-type]  # by name, as they were recorded
