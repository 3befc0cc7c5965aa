# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The closed-loop report in a bundle: evidence that this particular model can walk."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import nan
from typing import Any

from policy_core.bundle.bundle import JointBundle
from policy_core.bundle.contract import Artifact
from policy_core.bundle.report_subject import find_contract_problem
from policy_core.errors import BundleError, Problem
from policy_inference.backends.base import BackendBase
from policy_inference.comparison.limits import Check, judged_by_walking

_REFERENCE = "onnx"


def walked(bundle: JointBundle, cls: type[BackendBase], name: str, entry: Artifact) -> list[Check]:
    """Return the walking checks from a model's report.

    The report is `reports/comparison_NAME.json`, written by `model_tools compare --closed-loop
    --record`. Without a report for this back end, the one for its simulator is used, provided that
    both models are from the same compilation.

    Args:
        bundle: The bundle, which may contain the report.
        cls: The back end's class.
        name: The back end's name.
        entry: The back end's artifact.
    """
    where, about = name, entry
    report, twin = bundle.report(f"comparison_{name}"), _simulated(bundle, cls, entry)
    if report is None and twin is not None and cls.simulated_by is not None:
        where, about = cls.simulated_by, twin
        report = bundle.report(f"comparison_{where}")
    file = f"reports/comparison_{where}.json"
    remedy = _remedy(bundle, where) + (" on a PC" if where != name else "")
    if report is None:
        raise _problem(
            file, f"a report on walking (needed to judge {entry.precision})", "none", remedy
        )
    one = _about(report, where, about.sha256)
    if one is None:
        raise _problem(
            file,
            f"a report about the model {about.sha256[:12]}",
            "a report about a different model",
            f"{remedy} (add --force to replace this one)",
        )
    remedy += " (add --force to replace this one)"
    if problem := find_contract_problem(
        report, about.sha256, bundle.content, bundle.contract.version
    ):
        raise _problem(file, "a report about the bundle's contract", f"one {problem}", remedy)
    if not one.get("closed_loop") or not one.get("closed_loop_checks"):
        raise _problem(file, "walks", "a comparison without --closed-loop", remedy)
    reference = str(report["artifacts"][0].get("precision"))
    if judged_by_walking(reference):
        raise _problem(
            file,
            "walks compared with those of a floating-point model",
            f"a comparison with a model in {reference}",
            remedy,
        )
    try:
        return [
            Check(
                what=f"walking: {stated['what']}",
                at_least=stated["at_least"],
                # A value that could not be measured is null.
                value=nan if stated["value"] is None else float(stated["value"]),
                limit=float(stated["limit"]),
                where=", ".join(filter(None, (stated["where"], file))),
            )
            for stated in one["closed_loop_checks"]
        ]
    except (LookupError, TypeError, ValueError):
        raise _problem(file, "valid checks of walks", "invalid ones", remedy) from None


def _remedy(bundle: JointBundle, backend: str) -> str:
    compared = f"{bundle.path} --backend {_REFERENCE},{backend}"
    if backend == _REFERENCE:  # then the bundle has no other model to compare with
        compared = f"FLOAT_BUNDLE {bundle.path}"
    return f"`model_tools compare {compared} --closed-loop --record` makes one"


def _simulated(bundle: JointBundle, cls: type[BackendBase], entry: Artifact) -> Artifact | None:
    """Return the simulator's model from the same compilation as this model."""
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


def _problem(file: str, expected: str, found: str, remedy: str) -> BundleError:
    return BundleError(Problem(file=file, expected=expected, found=found, remedy=remedy))
