# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Self-test results as plain JSON without private data."""

from __future__ import annotations

import dataclasses
from typing import Any

from policy_inference.comparison.plain_json import check_figures, difference_figures
from policy_inference.kinds.parity import Parity
from policy_inference.self_test.measuring import AtRate, Durations
from policy_inference.self_test.run import SelfTestResult
from policy_inference.self_test.verdict import SelfTestVerdict
from policy_store.report import plain

DIGITS = 6


def document(found: SelfTestResult) -> dict[str, Any]:
    """Return a self-test result as JSON types; NaN becomes null."""
    request = found.request
    whole: dict[str, Any] = {
        "holds": bool(found),
        "error": found.error or None,
        "trace": found.trace or None,
        "options": dict(request.options),
        "seconds": request.duration_s,
        **_artifacts(found),
        "details": dict(found.details),
        "parity": found.parity and _parity(found.parity),
        "back_to_back": found.back_to_back and _durations(found.back_to_back),
        **(
            {"graphs": {name: _durations(one) for name, one in found.graphs.items()}}
            if found.graphs
            else {}
        ),
        "at_rate": found.at_rate and _at_rate(found.at_rate),
        "parity_again": found.parity_again and _parity(found.parity_again),
        "verdict": _verdict(found.verdict),
    }
    return {name: plain(entry, DIGITS) for name, entry in whole.items()}


def _artifacts(found: SelfTestResult) -> dict[str, Any]:
    """Return the opened model, or a chunk policy's graphs by name."""
    if "model" not in found.bundle.contract.models:
        return {
            "artifacts": {
                key.removeprefix("graphs."): dataclasses.asdict(entry)
                for key, entry in found.entries.items()
            }
        }
    return {"artifact": next(map(dataclasses.asdict, found.entries.values()), None)}


def _parity(found: Parity) -> dict[str, Any]:
    return {
        "rows": found.rows.source,
        "count": len(found.rows),
        "after_runs": found.after_runs,
        "outputs": {one.output: difference_figures(one) for one in found.differences},
    }


def _at_rate(found: AtRate) -> dict[str, Any]:
    runs, load = found.runs, found.load
    return {
        "ticks": len(runs),
        "missed": found.missed,
        "not_finite": runs.not_finite,
        "wall_s": found.wall_s,
        "inference": _durations(runs.inference),
        "inference_halves_p50_s": runs.inference.halves_p50_s(),
        "preprocessing": _durations(runs.preprocessing),
        "device": {
            "samples": len(load),
            "unreadable": load.unreadable or None,
            "words": load.words(),
            "numbers": {name: dataclasses.asdict(one) for name, one in load.series().items()},
        },
        "processes": {
            name: {**dataclasses.asdict(one), "cpu_percent": _percent(one.cpu_s, found.wall_s)}
            for name, one in found.usage.items()
        },
    }


def _durations(durations: Durations) -> dict[str, Any]:
    edges_s, counts = durations.histogram()
    return {
        "runs": len(durations),
        **{
            f"{name}_s": durations.percentile_s(percent)
            for name, percent in (("p50", 50), ("p99", 99), ("p999", 99.9), ("max", 100))
        },
        "histogram": {"edges_s": edges_s, "counts": counts},
    }


def _verdict(verdict: SelfTestVerdict | None) -> dict[str, Any] | None:
    if verdict is None:
        return None
    return {
        "holds": bool(verdict),
        "checks": check_figures(verdict.checks),
        "missing": list(verdict.missing),
        "left_out": list(verdict.left_out),
    }


def _percent(cpu_s: float, wall_s: float) -> float | None:
    return 100.0 * cpu_s / wall_s if wall_s > 0 else None
