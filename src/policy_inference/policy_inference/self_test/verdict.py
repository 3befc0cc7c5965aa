# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether a backend does here what a robot needs of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from policy_inference.backends.base import BackendBase
from policy_inference.bundle.bundle import JointBundle
from policy_inference.bundle.contract import Artifact
from policy_inference.comparison.limits import Check, judged_by_walking
from policy_inference.comparison.rows import Rows
from policy_inference.errors import BundleError
from policy_inference.self_test.at_rate import AtRate
from policy_inference.self_test.durations import Durations
from policy_inference.self_test.load import Series
from policy_inference.self_test.parity import Parity, output_checks, require_enough
from policy_inference.self_test.walked import walked

INFERENCE_LIMIT_MS, PREPROCESSING_LIMIT_MS, POWER_LIMIT_W = 5.0, 1.0, 10.0
MISSED_LIMIT = 0.01
DRIFT_LIMIT, DRIFT_FROM_MS = 1.5, 1.0
"""Medians below a millisecond jitter by this factor on a healthy machine, and hurt nobody."""
_CLOCKS, _TEMPERATURES, _POWER = ("hz", "khz", "mhz", "ghz"), ("c",), ("w",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The result; its truth value says whether all limits hold, and all that decides is judged.

    Attributes:
        checks: Figures against their limits.
        missing: What would have to be judged and could not be, with the remedy.
        left_out: What is not judged, and why that is right.
    """

    checks: tuple[Check, ...]
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return whether all limits hold and nothing is missing."""
        return all(self.checks) and not self.missing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """What is judged: golden rows before and after, runs without a pause, ticks at the rate."""

    parity: tuple[Parity, Parity]
    back_to_back: Durations
    at_rate: AtRate


def judged(
    bundle: JointBundle, cls: type[BackendBase], name: str, entry: Artifact, found: Measured
) -> Verdict:
    """Hold what was measured against the limits.

    Args:
        bundle: States limits of outputs, and carries the report on walking.
        cls: Class of the back end.
        name: Of the back end.
        entry: What it opened.
        found: What was measured.
    """
    checks, missing, left_out = list[Check](), list[str](), list[str]()
    need_the_bundle: dict[str, Callable[[], Sequence[Check]]] = {
        "rows": lambda: _enough(bundle, found.parity[0].rows),
        "outputs": lambda: [
            check for one in found.parity for check in output_checks(bundle, name, entry, one)
        ],
        "walking": lambda: _walking(bundle, cls, name, entry),
    }
    for what, judge_them in need_the_bundle.items():
        try:
            checks += judge_them()
        except BundleError as error:
            missing.append(f"{what}: {error}")
    checks.append(
        Check(
            what="ticks with NaN or infinite outputs",
            limit=0,
            value=found.at_rate.paced.not_finite,
            where="at the policy's rate",
        )
    )
    if cls.simulates:
        left_out.append(
            "latency and power: this back end simulates a device, and says nothing about its speed"
        )
    else:
        checks += _latency(found, bundle.contract.period_ns * 1e-6)
        rails = power(found.at_rate.load.series())
        checks += rails
        if not rails:
            left_out.append("power: this machine does not tell it")
    return Verdict(checks=tuple(checks), missing=tuple(missing), left_out=tuple(left_out))


def _enough(bundle: JointBundle, rows: Rows) -> Sequence[Check]:
    """Return no check, or raise what `require_enough` does."""
    require_enough(bundle, rows)
    return ()


def _walking(
    bundle: JointBundle, cls: type[BackendBase], name: str, entry: Artifact
) -> Sequence[Check]:
    """Return the checks of the report on walking, where the precision needs one."""
    return walked(bundle, cls, name, entry) if judged_by_walking(entry.precision) else ()


def _latency(found: Measured, period_ms: float) -> list[Check]:
    """Return the checks of 99 runs of 100, of ticks missed, and of the median, which must stay."""
    paced, limit_ms = found.at_rate.paced, min(INFERENCE_LIMIT_MS, period_ms)
    ticks = len(paced.inference) + paced.missed
    return [
        _p99("inference, p99, back to back, ms", found.back_to_back, limit_ms, period_ms),
        _p99("inference, p99, at the policy's rate, ms", paced.inference, limit_ms, period_ms),
        _p99("preprocessing, p99, ms", paced.preprocessing, PREPROCESSING_LIMIT_MS, period_ms),
        _p99(
            "preprocessing and inference, p99, ms",
            paced.preprocessing.plus(paced.inference),
            period_ms,
            period_ms,
        ),
        Check(
            what="ticks missed, share",
            value=paced.missed / ticks,
            limit=MISSED_LIMIT,
            where=f"{paced.missed} of {ticks} ticks",
        ),
        drift(found.at_rate),
    ]


def _p99(what: str, durations: Durations, limit_ms: float, period_ms: float) -> Check:
    median_ms = durations.percentile_s(50) * 1e3
    period = "; the limit is the policy's period" if limit_ms == period_ms else ""
    return Check(
        what=what,
        value=durations.percentile_s(99) * 1e3,
        limit=limit_ms,
        where=f"{len(durations)} runs, median {median_ms:.3g} ms{period}",
    )


def drift(found: AtRate) -> Check:
    """Return the check of the second half's median, which names what could have slowed it."""
    first_ms, second_ms = (half_s * 1e3 for half_s in found.paced.inference.halves_p50_s())
    return Check(
        what="inference, median of the second half, ms",
        value=second_ms,
        limit=max(DRIFT_FROM_MS, DRIFT_LIMIT * first_ms),
        where=f"{first_ms:.3g} ms in the first half; {_causes(found)}",
    )


def _causes(found: AtRate) -> str:
    """Return clocks and temperatures in both halves, and how often the processor was taken away."""
    series = found.load.series()
    preempted = ", ".join(f"{name} {usage.preempted} times" for name, usage in found.usage.items())
    return "; ".join(
        (
            f"clock: {_changes(series, _CLOCKS)}",
            f"temperature: {_changes(series, _TEMPERATURES)}",
            f"preemption: {preempted or 'not told'}",
        )
    )


def _changes(series: dict[str, Series], units: tuple[str, ...]) -> str:
    return (
        ", ".join(
            f"{name} {one.first:g} to {one.second:g}"
            for name, one in _in_units(series, units).items()
        )
        or "not told"
    )


def power(series: dict[str, Series]) -> list[Check]:
    """Return the check of the mean power, where it is told.

    Of several rails the largest is taken: boards that measure their input have it among them.
    """
    rails = _in_units(series, _POWER)
    if not rails:
        return []
    name = max(rails, key=lambda rail: rails[rail].mean)
    return [
        Check(
            what="power, mean, W",
            value=rails[name].mean,
            limit=POWER_LIMIT_W,
            where=f"{name}, {rails[name].max:.3g} W at most",
        )
    ]


def _in_units(series: dict[str, Series], units: tuple[str, ...]) -> dict[str, Series]:
    return {name: one for name, one in series.items() if name.rpartition("_")[2] in units}
