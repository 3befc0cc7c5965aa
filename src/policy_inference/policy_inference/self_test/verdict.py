# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Verdict on whether a back end on this machine meets a robot's needs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from policy_core.bundle.contract import Artifact
from policy_core.errors import BundleError
from policy_inference.backends.base import BackendBase
from policy_inference.comparison.limits import Check
from policy_inference.kinds.opening import B, MemberKind
from policy_inference.kinds.parity import Parity
from policy_inference.self_test.measuring import AtRate, SensorCourse, TimedRuns
from policy_inference.self_test.trial import Trial

POWER_LIMIT_W = 10.0
MISSED_LIMIT = 0.01
DRIFT_LIMIT, DRIFT_FROM_MS = 1.5, 1.0
"""Limit on the second half's median relative to the first's; a median always accepted (ms)."""
_CLOCKS, _TEMPERATURES, _POWER = ("hz", "khz", "mhz", "ghz"), ("c",), ("w",)


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfTestVerdict:
    """The verdict; true if all limits hold and everything required was judged.

    Attributes:
        checks: Figures and their limits.
        missing: Required checks that were not possible, with the remedy.
        left_out: Omitted checks, with the reason.
    """

    checks: tuple[Check, ...]
    missing: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return True if all limits hold and nothing is missing."""
        return all(self.checks) and not self.missing


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Measurements: golden rows before and after, runs without a pause, runs at the rate."""

    parity: tuple[Parity, Parity]
    back_to_back: TimedRuns
    at_rate: AtRate


def judged(
    kind: MemberKind[B],
    bundle: B,
    trial: Trial,
    cls: type[BackendBase],
    name: str,
    entries: Mapping[str, Artifact],
    found: Measured,
) -> SelfTestVerdict:
    """Compare the measurements with the limits.

    Args:
        kind: The policy's kind.
        bundle: The bundle, for its output limits and its report on walking.
        trial: The trial.
        cls: The back end's class.
        name: The back end's name.
        entries: Opened artifacts, by contract key of the model.
        found: Measurements.
    """
    checks, missing, left_out = list[Check](), list[str](), list[str]()
    need_the_bundle: dict[str, Callable[[], Sequence[Check]]] = {
        "rows": lambda: _enough(kind, bundle, found.parity[0]),
        "outputs": lambda: [
            check
            for one in found.parity
            for check in kind.checks(bundle, name, entries, one.differences, one.source)
        ],
        "walking": lambda: trial.walking(cls, name, entries),
    }
    for what, judge_them in need_the_bundle.items():
        try:
            checks += judge_them()
        except BundleError as error:
            missing.append(f"{what}: {error}")
    checks.append(
        Check(
            what=trial.not_finite,
            limit=0,
            value=found.back_to_back.not_finite + found.at_rate.runs.not_finite,
            where="all that ran",
        )
    )
    left_out += trial.not_judged(entries)
    if cls.simulates:
        left_out.append(
            "latency and power: this back end simulates a device, so its speed is not the device's"
        )
    else:
        rate = found.at_rate
        checks += trial.latency(found.back_to_back, rate)
        checks += [_missed(rate, trial.ticks), _drift(rate)]
        rails = _power(rate.load.series())
        checks += rails
        if not rails:
            left_out.append("power: this machine does not report it")
    return SelfTestVerdict(checks=tuple(checks), missing=tuple(missing), left_out=tuple(left_out))


def _enough(kind: MemberKind[B], bundle: B, found: Parity) -> Sequence[Check]:
    """Return no checks, but raise any error from `require_enough`."""
    kind.require_enough(bundle, found.rows)
    return ()


def _missed(found: AtRate, ticks: str) -> Check:
    wanted = len(found.runs) + found.missed
    return Check(
        what=f"{ticks} missed, share",
        value=found.missed / wanted,
        limit=MISSED_LIMIT,
        where=f"{found.missed} of {wanted} {ticks}",
    )


def _drift(found: AtRate) -> Check:
    """Return the check on the second half's median, with possible causes of a slowdown."""
    first_ms, second_ms = (half_s * 1e3 for half_s in found.runs.inference.halves_p50_s())
    return Check(
        what="inference, median of the second half, ms",
        value=second_ms,
        limit=max(DRIFT_FROM_MS, DRIFT_LIMIT * first_ms),
        where=f"{first_ms:.3g} ms in the first half; {_causes(found)}",
    )


def _causes(found: AtRate) -> str:
    """Return clocks and temperatures in both halves, and the number of preemptions."""
    series = found.load.series()
    preempted = ", ".join(f"{name} {usage.preempted} times" for name, usage in found.usage.items())
    return "; ".join(
        (
            f"clock: {_changes(series, _CLOCKS)}",
            f"temperature: {_changes(series, _TEMPERATURES)}",
            f"preemption: {preempted or 'not reported'}",
        )
    )


def _changes(series: dict[str, SensorCourse], units: tuple[str, ...]) -> str:
    return (
        ", ".join(
            f"{name} {one.first:g} to {one.second:g}"
            for name, one in _in_units(series, units).items()
        )
        or "not reported"
    )


def _power(series: dict[str, SensorCourse]) -> list[Check]:
    """Return the check on mean power, if power is reported.

    If there are several rails, the one with the highest mean is used: on boards that measure the
    input power, that rail is the input.
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


def _in_units(series: dict[str, SensorCourse], units: tuple[str, ...]) -> dict[str, SensorCourse]:
    return {name: one for name, one in series.items() if name.rpartition("_")[2] in units}
