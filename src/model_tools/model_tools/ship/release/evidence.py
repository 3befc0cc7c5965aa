# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reports from other commands as evidence for a stage, judged by the stage's limits.

| stage | report |
| --- | --- |
| simulation | output of `release record ... simulation --bundle` |
| shadow | `replay.json` of `model_tools replay --bundle CANDIDATE RECORDING --output FOLDER` |
| canary | `policy_store trial status NAME --json` |
| production | `model_tools fleet status --json` |
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.foreign import Node, read_json
from model_tools.ship.release.release_file import (
    CanaryStage,
    Health,
    Release,
    RobotEvidence,
    ShadowStage,
    SimulationStage,
    StageName,
)
from policy_core.interfaces import F64
from policy_inference.candidate.expectation import pair
from policy_inference.candidate.gates import ShadowFigures, judge_shadow

SIMULATION_KIND = "release_simulation"
Judged = dict[str, RobotEvidence]
"""Evidence by robot."""
_FAILED = ("failed", "not_finite")
_TICKS = ("compared", "skipped", "lost", *_FAILED)
_DISTANCES, _COURSE = ("max", "rms", "rms_steps"), ("moves", "gain", "correlation")
_GOOD_TRIALS, _FAILED_TRIAL = ("passed", "kept"), "failed"


class Origin(NamedTuple):
    """Machine and run that a report is about; empty if the report does not state them."""

    host: str = ""
    run: str = ""


_UNKNOWN = Origin()


def read_report(release: Release, stage: StageName, robot: str, file: Path, shown: str) -> Judged:
    """Return the evidence in a report, by robot.

    Args:
        release: Release that the report must be about.
        stage: Stage of the evidence.
        robot: Robot that the report is about; a report about several robots names them itself.
        file: The report.
        shown: Name of the report in the release.
    """
    if stage not in release.asked:
        raise ToolError(
            f"{stage}: expected a stage of this release ({', '.join(release.asked)}), found a "
            "skipped one"
        )
    return _READERS[stage](release, read_json(file), robot, shown)


def _simulation(release: Release, report: Node, robot: str, shown: str) -> Judged:
    if report["kind"].text() != SIMULATION_KIND:
        raise report["kind"].wrong(f"{SIMULATION_KIND} (`release record --bundle` writes it)")
    _require_bundle(release, report["bundle_sha256"])
    checks = report["checks"].elements()
    failed = [check["text"].text() for check in checks if not check["holds"].boolean()]
    lacking = [] if checks else ["nothing was checked"]
    compared, baseline = report.get("baseline_sha256"), release.baseline
    if baseline is not None and (compared is None or compared.text() != baseline.sha256):
        lacking.append(f"not compared with {baseline.version}, the baseline")
    walk_s, limits = report["walk_s"].number(), release.stages.simulation or SimulationStage()
    if walk_s < limits.walk_s:
        lacking.append(f"walks of {walk_s:g} s, expected {limits.walk_s:g} s")
    figures = {"checks": float(len(checks)), "failed": float(len(failed)), "walk_s": walk_s}
    return {robot: _evidence(failed, lacking, shown, figures)}


def _shadow(release: Release, report: Node, robot: str, shown: str) -> Judged:
    shadow, baseline = report["shadow"], release.baseline
    _require_bundle(release, shadow["bundle_sha256"])
    flown = report["bundle_sha256"]
    if baseline is not None and flown.text() != baseline.sha256:
        raise flown.wrong(f"a recording of the baseline, {baseline.version} ({baseline.sha256})")
    found = shadow["divergence"]
    joints = found["joints"].texts()
    if len(set(joints)) != len(joints):
        raise found["joints"].wrong("each joint once")
    systematic = shadow.get("systematic")
    ticks = {name: _counted(found["ticks"][name]) for name in _TICKS}
    measured = {
        **{name: _distances(found, name, joints) for name in _DISTANCES},
        **{name: _course(found.get(name), joints) for name in _COURSE},
        "systematic": _course(systematic and systematic.get("all"), joints),
        "torque_error": _torque_error(found["torque_error"], joints),
    }
    figures = _figures(joints, ticks, _counted(found["beyond_limits"]), measured)
    backends = pair(report["backend"].text(), shadow["backend"].text())
    origin = Origin(
        host=report["host"].text(), run=f"flight from {report['begins_ns'].whole()} ns on"
    )
    return {robot: _judged_shadow(release, backends, ticks, figures, shown, origin)}


def _distances(found: Node, name: str, joints: Sequence[str]) -> F64 | None:
    values = found.get(name)
    if values is None:
        return None
    numbers = np.array(values.numbers(len(joints)))
    if (numbers < 0.0).any():
        raise values.wrong("numbers of 0 or more")
    return numbers


def _course(values: Node | None, joints: Sequence[str]) -> F64 | None:
    """Return a measured value for each joint; null, for a joint at rest, becomes NaN."""
    if values is None:
        return None
    found = values.elements()
    if len(found) != len(joints):
        raise values.wrong(f"{len(joints)} values")
    return np.array([math.nan if one.value is None else one.number() for one in found])


def _torque_error(values: Node, joints: Sequence[str]) -> F64 | None:
    """Return the torque error of each joint; None if the report states that it is unknown."""
    errors = None if values.value is None else _course(values, joints)
    if errors is not None and (errors < 0.0).any():
        raise values.wrong("numbers of 0 or more")
    return errors


def _counted(number: Node) -> float:
    value = number.number()
    if value < 0.0:  # negative values could offset others
        raise number.wrong("a number of 0 or more")
    return value


def _figures(
    joints: Sequence[str],
    ticks: Mapping[str, float],
    beyond_limits: float,
    measured: Mapping[str, F64 | None],
) -> ShadowFigures | None:
    """Return a shadow's measurements on one robot; None if nothing was compared.

    Args:
        joints: Joints, in the order of the arrays.
        ticks: Ticks by outcome.
        beyond_limits: Compared ticks with a target beyond a joint limit.
        measured: Arrays of `ShadowFigures` [joints], by name.
    """
    largest, compared = measured["max"], ticks["compared"]
    if not compared or largest is None or not len(largest):
        return None
    return ShadowFigures(
        joints=joints,
        max=largest,
        **{name: values for name, values in measured.items() if name != "max"},
        beyond_limits_share=beyond_limits / compared,
        failed_share=sum(ticks[name] for name in _FAILED) / sum(ticks.values()),
    )


def _judged_shadow(
    release: Release,
    backends: str,
    ticks: Mapping[str, float],
    figures: ShadowFigures | None,
    shown: str,
    origin: Origin,
) -> RobotEvidence:
    if figures is None:
        return _evidence([], ["nothing was compared"], shown, {}, origin)
    limits = release.stages.shadow or ShadowStage()
    judged, lacking = judge_shadow(figures, release.expected.get(backends), limits)
    shares = {
        "minutes": ticks["compared"] / release.rate_hz / 60.0,
        "missed_share": (ticks["skipped"] + ticks["lost"]) / sum(ticks.values()),
        **{one.figure: one.value for one in judged},
    }
    lacking += _too_short(shares, limits.min_minutes)
    bad = [str(one) for one in judged if not one.holds]
    return _evidence(bad, lacking, shown, shares, origin)


def _canary(release: Release, report: Node, robot: str, shown: str) -> Judged:
    limits = release.stages.canary or CanaryStage()
    state = report["state"].text()
    if state == "none":
        return {robot: _evidence([], ["no trial"], shown, {})}
    _require_bundle(release, report["bundle_sha256"])
    figures = {"minutes": report["run_time_s"].number() / 60.0}
    origin = Origin(
        host=report["host"].text(),
        run=f"trial begun {report['begun_time'].text()}, {report['run_time_s'].number():g} s",
    )
    if state in _GOOD_TRIALS:
        lacking = [
            *_too_short(figures, limits.min_minutes),
            *_unlike(release, report["version_before"].text()),
            *(
                f"gate {gate} was not checked; if that is intended, name it in "
                "stages.canary.unchecked_gates of a new release"
                for gate in report["unchecked_gates"].texts()
                if gate not in limits.unchecked_gates
            ),
        ]
        return {robot: _evidence([], lacking, shown, figures, origin)}
    reason = ": ".join(filter(None, (f"trial {state}", report["reason"].text())))
    bad = [reason] if state == _FAILED_TRIAL else []
    return {robot: _evidence(bad, [reason], shown, figures, origin)}


def _unlike(release: Release, version_before: str) -> list[str]:
    """Return a reason if a trial would have gone back to a version other than the baseline."""
    baseline = release.baseline
    if baseline is None or version_before == baseline.version:
        return []
    return [f"the version in use was {version_before}, expected {baseline.version}, the baseline"]


def _production(release: Release, report: Node, robot: str, shown: str) -> Judged:
    found = dict[str, RobotEvidence]()
    for state in report["robots"].elements():
        name, health = state["robot"].text(), state["health"].text()
        if name in found:
            raise state["robot"].wrong("each robot once")
        reasons = state["reasons"].texts()
        figures = {"minutes": state["run_s"].number() / 60.0}
        runs = state["policy"].text()
        # Recording a robot of another kind would count it among these forever; ignoring a robot of
        # this kind would hide that it was given a policy of another name.
        if runs and release.name not in (one.split("@")[0] for one in runs.split(", ")):
            raise state["policy"].wrong(
                f"robots of {release.name} (if {name} is another kind of robot, query only the "
                "other kind: `model_tools fleet status --inventory FILE --limit GROUP`)"
            )
        if release.sha256 not in state["sha256"].text().split(", "):
            runs = runs or "no known policy"
            found[name] = _evidence([], [f"it runs {runs}"], shown, figures)
        elif health == "healthy":
            found[name] = _evidence([], [], shown, figures)
        else:
            texts = reasons or [health]
            bad = texts if health == "bad" else []
            found[name] = _evidence(bad, [] if bad else texts, shown, figures)
    if not found:
        raise report["robots"].wrong("at least one robot")
    return found


_READERS: Mapping[StageName, Callable[[Release, Node, str, str], Judged]] = {
    "simulation": _simulation,
    "shadow": _shadow,
    "canary": _canary,
    "production": _production,
}


def _evidence(
    bad: Sequence[str],
    lacking: Sequence[str],
    report: str,
    figures: Mapping[str, float],
    origin: Origin = _UNKNOWN,
) -> RobotEvidence:
    health: Health = "bad" if bad else "not_enough" if lacking else "healthy"
    return RobotEvidence(
        health=health,
        reasons=tuple(dict.fromkeys((*bad, *lacking))),
        minutes=figures.get("minutes", 0.0),
        figures=dict(figures),
        report=report,
        host=origin.host,
        run=origin.run,
    )


def _too_short(figures: Mapping[str, float], least_minutes: float) -> list[str]:
    minutes = figures["minutes"]
    if minutes >= least_minutes:
        return []
    return [f"{minutes:.1f} min, expected {least_minutes:g}"]


def _require_bundle(release: Release, found: Node) -> None:
    if found.text() != release.sha256:
        raise found.wrong(f"{release.sha256} (the policy.yaml of {release.name} {release.version})")
