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
        try:
            # A limit that is off was not recorded; only the tilt may be.
            values[field.name] = (getattr(known, field.name) if field.name != "max_tilt_rad"
                                  else None) if text is None else (
                int(text) if field.name.endswith("_ns") else float(text))  # fmt: skip
        except ValueError as error:
            raise ToolError(f"{recording.path}: flight_info: settings: {_PREFIX}{field.name}: "
                            f"expected a number, found {text!r}") from error
    return Limits(**values)  # type: ignore[arg-type]  # by name, as they were recorded
