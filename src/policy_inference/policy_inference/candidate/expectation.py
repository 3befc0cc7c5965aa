# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Expected distance between the targets of two bundles, based on evidence in the bundles.

Equal artifacts compute equal functions. For an artifact compiled from another one, a `model_tools
compare` report gives the distance between the two. For different weights, there is no such
evidence: only the person who trained them knows what distance to expect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import hypot
from typing import Any

from policy_core.bundle.bundle import AnyBundle, model_sha256
from policy_core.bundle.schema import entry
from policy_core.errors import BundleError, Problem

GOLDEN = "golden rows"
"""Name, in reports, of the rows that cover the policy's behavior. If a report has no such rows, its
first rows are used.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedDistance:
    """Expected distance between targets, by robot joint; empty if the targets are equal."""

    rms: dict[str, float] = entry("root mean square by joint, rad (rad/s, N·m)", default={})
    max: dict[str, float] = entry("largest by joint, rad (rad/s, N·m)", default={})

    @property
    def is_equal(self) -> bool:
        return not self.rms


def expected_distances(active: AnyBundle, candidate: AnyBundle) -> dict[str, ExpectedDistance]:
    """Return the expected distance for each `ACTIVE CANDIDATE` pair of back ends with evidence."""
    found = dict[str, ExpectedDistance]()
    for ours in _back_ends(active):
        for theirs in _back_ends(candidate):
            expected = _expected(dict(_evidence(active, ours)), dict(_evidence(candidate, theirs)))
            if expected is not None:
                found[pair(ours, theirs)] = expected
    return found


def pair(active_backend: str, candidate_backend: str) -> str:
    return f"{active_backend} {candidate_backend}"


def _back_ends(bundle: AnyBundle) -> list[str]:
    return sorted({name for model in bundle.contract.models.values() for name in model.artifacts})


def _evidence(bundle: AnyBundle, backend: str) -> Iterator[tuple[str, ExpectedDistance]]:
    """Yield each model at a known distance from a back end's model: its hash, and that distance."""
    sha256 = model_sha256(bundle.contract, backend)
    if sha256 is None:
        return
    yield sha256, ExpectedDistance()
    report = bundle.report(f"comparison_{backend}")
    if report is None or not bundle.contract.command_scales:
        return
    reference, *others = report["artifacts"]
    if bundle.models[0].entry(backend).compiled_from not in (None, reference["sha256"]):
        return  # compared with a model that is not its source
    for one in others:
        if one["sha256"] == sha256 and one["backend"] == backend and one["holds"]:
            yield reference["sha256"], _reported(bundle, one)


def _reported(bundle: AnyBundle, one: Mapping[str, Any]) -> ExpectedDistance:
    contract = bundle.contract
    rows = {found["rows"]: found for found in reversed(one["open_loop"])}
    source = rows.get(GOLDEN) or one["open_loop"][0]
    each = next(iter(source["outputs"].values()))["each"]  # the first output commands joints
    scales = contract.command_scales
    names = dict(zip(contract.joints.names, contract.joints.on_robot(), strict=True))
    if each.keys() != scales.keys():
        raise BundleError(
            Problem(
                file=str(bundle.path),
                key="reports",
                expected=f"figures of {', '.join(scales)}",
                found=f"those of {', '.join(each)}",
                remedy="compare again: `model_tools compare ... --record`",
            )
        )
    return ExpectedDistance(
        rms={names[joint]: abs(scale) * each[joint]["rmse"] for joint, scale in scales.items()},
        max={names[joint]: abs(scale) * each[joint]["max_abs"] for joint, scale in scales.items()},
    )


def _expected(
    ours: Mapping[str, ExpectedDistance], theirs: Mapping[str, ExpectedDistance]
) -> ExpectedDistance | None:
    """Return the distance between two models via a third model at known distances from both."""
    common = [(ours[sha256], theirs[sha256]) for sha256 in ours if sha256 in theirs]
    if not common:
        return None
    a, b = min(common, key=lambda both: len(both[0].rms) + len(both[1].rms))
    joints = dict.fromkeys((*a.rms, *b.rms))
    return ExpectedDistance(
        rms={joint: hypot(a.rms.get(joint, 0.0), b.rms.get(joint, 0.0)) for joint in joints},
        max={joint: a.max.get(joint, 0.0) + b.max.get(joint, 0.0) for joint in joints},
    )
