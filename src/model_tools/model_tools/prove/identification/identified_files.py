# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What was identified as files: all figures, and factors for a plan of `evaluate`."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import yaml

from model_tools.prove.identification.identify import Estimate, Identified
from policy_store.report import plain

_DIGITS = 5
_MOST_LATENCY_MS = 40.0
_NARROWEST = 1e-3


def figures_text(found: Identified) -> str:
    """Return all figures as JSON; what could not be measured is null."""
    content = plain(dataclasses.asdict(found), _DIGITS)
    return f"{json.dumps(content, indent=1, allow_nan=False)}\n"


def factors_text(found: Identified, source: str) -> str:
    """Return the ranges over all joints as YAML, for `factors` of a plan."""
    drives = found.drives
    factors = {
        "latency_ms": _range([drive.delay_s for drive in drives], [1e-3] * len(drives)),
        "stiffness_scale": _range(
            [drive.stiffness for drive in drives], [drive.commanded_stiffness for drive in drives]
        ),
        "damping_scale": _range(
            [drive.damping for drive in drives], [drive.commanded_damping for drive in drives]
        ),
    }
    factors["latency_ms"]["max"] = min(factors["latency_ms"]["max"], _MOST_LATENCY_MS)
    text = yaml.safe_dump({"factors": factors}, sort_keys=False)
    return f"# Identified by model_tools from {source}.\n{text}"


def _range(found: Sequence[Estimate], units: Sequence[float]) -> dict[str, float]:
    """Return the range of values in units of their own, without those whose unit is 0."""
    known = [(each, unit) for each, unit in zip(found, units, strict=True) if unit > 0.0]
    low = max(0.0, min((each.low / unit for each, unit in known), default=1.0))
    high = max((each.high / unit for each, unit in known), default=1.0)
    return {"min": round(low, 4), "max": round(max(high, low + _NARROWEST), 4)}
