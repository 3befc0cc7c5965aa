# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The closed-loop report that a bundle carries: whether this very model was seen to walk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import degrees, isfinite, nan
from typing import Any

from policy_core.bundle.body import ClosedLoopLimits
from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import Artifact
from policy_core.errors import BundleError, Problem
from policy_inference.backends.base import BackendBase
from policy_inference.comparison.limits import Check, closed_loop_limits, judged_by_walking

_REFERENCE = "onnx"
_AXES = ("vx", "vy", "yaw rate")
_Named = tuple[str, str]
"""What a check of walks is about, and in which walk; every walk where that is empty."""


def walked(bundle: JointBundle, cls: type[BackendBase], name: str, entry: Artifact) -> list[Check]:
    """Return the checks of walking from the report about a model.

    That is `reports/comparison_NAME.json`, as `model_tools compare --closed-loop --record` writes
    it. Where there is none for this back end, the one of its simulator counts, if both models were
    compiled in the same order. Where the bundle's limits are stricter now than when the report was
    made, they count.

    Args:
        bundle: Carries the report.
        cls: Class of the back end.
        name: Of the back end.
        entry: What it opens.
    """
    where, about = name, entry
    report, twin = bundle.report(f"comparison_{name}"), _simulated(bundle, cls, entry)
    if report is None and twin is not None and cls.simulated_by is not None:
        where, about = cls.simulated_by, twin
        report = bundle.report(f"comparison_{where}")
    file = f"reports/comparison_{where}.json"
    remedy = _remedy(bundle, where) + (" on a PC" if where != name else "")
    if report is None:
        raise _problem(file, f"a report on walking, which judges {entry.precision}", "none", remedy)
    one = _about(report, where, about.sha256)
    if one is None:
        raise _problem(
            file,
            f"a report about the model {about.sha256[:12]}",
            "one about another",
            f"{remedy}, with --force",
        )
    remedy += ", with --force"
    if not one.get("closed_loop") or not one.get("closed_loop_checks"):
        raise _problem(file, "walks", "a comparison without --closed-loop", remedy)
    try:
        now = _limits_now(report["artifacts"][0], closed_loop_limits(bundle.contract, where))
        checks = {_named(check, now): check for check in one["closed_loop_checks"]}
        held = [_check(check, now.get(named), file) for named, check in checks.items()]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise _problem(file, "checks of walks", "something else", remedy) from None
    lacking = ", ".join(" ".join(named).strip() for named in now if named not in checks)
    if lacking:
        raise _problem(file, "all checks of walks", f"none of {lacking}", remedy)
    if judged_by_walking(str(report["artifacts"][0].get("precision"))):
        raise _problem(
            file,
            "walks held against those of a model in floats",
            f"another one, in {report['artifacts'][0].get('precision')}",
            remedy,
        )
    return held


def _remedy(bundle: JointBundle, backend: str) -> str:
    compared = f"{bundle.path} --backend {_REFERENCE},{backend}"
    if backend == _REFERENCE:  # then the bundle has no other model to be compared with
        compared = f"FLOAT_BUNDLE {bundle.path}"
    return f"`model_tools compare {compared} --closed-loop --record` makes one"


def _simulated(bundle: JointBundle, cls: type[BackendBase], entry: Artifact) -> Artifact | None:
    """Return the simulator's model that was compiled in the same order as this one."""
    twin = bundle.contract.model.artifacts.get(cls.simulated_by or "")
    if (
        twin is None
        or dataclasses.replace(twin, file=entry.file, sha256=entry.sha256, url=entry.url) != entry
    ):
        return None
    return twin


def _about(report: Mapping[str, Any], backend: str, sha256: str) -> Mapping[str, Any] | None:
    artifacts: Sequence[Any] = report.get("artifacts") or ()
    return next(
        (
            one
            for one in artifacts
            if isinstance(one, dict)
            and (one.get("backend"), one.get("sha256")) == (backend, sha256)
        ),
        None,
    )


def _limits_now(reference: Mapping[str, Any], limits: ClosedLoopLimits) -> dict[_Named, float]:
    """Return what each figure of walks may be; the reference says how well it followed."""
    now: dict[_Named, float | None] = {
        ("walks cut short", ""): 0.0,
        ("largest tilt, degrees", ""): None
        if limits.max_tilt_rad is None
        else degrees(limits.max_tilt_rad),
        ("share at the torque limit", ""): limits.torque_limit_share,
        ("mean |action change|, standing", ""): limits.standing_action_change,
    }
    walks: dict[str, tuple[Any, Any]] = {
        "({:g}, {:g}, {:g})".format(*walk["command"]): (walk["command"], walk["error"])
        for walk in reference["closed_loop"]
    }
    commands = [command for command, _ in walks.values()]
    if all(map(any, commands)) or not all(map(any, zip(*commands, strict=True))):
        raise ValueError("walks in all directions, and one that stands")
    for name, (_, errors) in walks.items():
        for axis, error in zip(_AXES, errors, strict=True):
            if limits.velocity_error is not None:
                now[f"error of {axis}", name] = _figure(error) + limits.velocity_error
    return {named: limit for named, limit in now.items() if limit is not None}


def _named(stated: Mapping[str, Any], now: Mapping[_Named, float]) -> _Named:
    what, where = str(stated["what"]), str(stated["where"])
    return (what, "") if (what, "") in now else (what, where)


def _check(stated: Mapping[str, Any], limit_now: float | None, file: str) -> Check:
    """Return a check with the stricter of two limits; what could not be measured is null."""
    value, limit, at_least = stated["value"], _figure(stated["limit"]), stated["at_least"]
    if not isinstance(at_least, bool) or (at_least and limit_now is not None):
        raise ValueError("at_least")
    return Check(
        what=f"walking: {stated['what']}",
        at_least=at_least,
        value=nan if value is None else _figure(value),
        limit=limit if limit_now is None else min(limit, limit_now),
        where=", ".join(filter(None, (stated["where"], file))),
    )


def _figure(value: Any) -> float:
    """Return a finite number."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
        raise ValueError(value)
    return float(value)


def _problem(file: str, expected: str, found: str, remedy: str) -> BundleError:
    return BundleError(Problem(file=file, expected=expected, found=found, remedy=remedy))
