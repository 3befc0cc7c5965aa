# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reports of other commands as evidence of a stage, held against its limits.

| stage | report |
| --- | --- |
| simulation | what `release record ... simulation --bundle` writes |
| shadow | `replay.json` of `model_tools replay --bundle CANDIDATE RECORDING --output FOLDER` |
| canary | `model_tools trial status NAME --json` |
| production | `model_tools fleet status --json` |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.foreign import Node, read_json
from model_tools.ship.release.release_file import (
    CanaryStage,
    Health,
    Release,
    RobotEvidence,
    ShadowStage,
    StageName,
)

SIMULATION_KIND = "release_simulation"
Judged = dict[str, RobotEvidence]
"""Evidence by robot."""
_FAILED = ("failed", "not_finite")
_TICKS = ("compared", "skipped", "lost", *_FAILED)
_GOOD_TRIALS, _FAILED_TRIAL = ("passed", "kept"), "failed"


def read_report(release: Release, stage: StageName, robot: str, file: Path, shown: str) -> Judged:
    """Return what a report says about robots.

    Args:
        release: It must be about this one.
        stage: Which it is evidence of.
        robot: Whose report it is; a report about several robots names them itself.
        file: The report.
        shown: What the release calls it.

    Raises:
        ToolError: It is no such report, or about another bundle, or the stage is left out.
        OSError: It cannot be read.
    """
    if stage not in release.asked:
        raise ToolError(
            f"{stage}: expected a stage of this release ({', '.join(release.asked)}), found one "
            "that is left out"
        )
    return _READERS[stage](release, read_json(file), robot, shown)


def _simulation(release: Release, report: Node, robot: str, shown: str) -> Judged:
    if report["kind"].text() != SIMULATION_KIND:
        raise report["kind"].wrong(f"{SIMULATION_KIND}, which `release record --bundle` writes")
    _require_bundle(release, report["bundle_sha256"])
    checks = report["checks"].elements()
    failed = [check["text"].text() for check in checks if not check["holds"].boolean()]
    lacking = [] if checks else ["nothing was checked"]
    compared, baseline = report.get("baseline_sha256"), release.baseline
    if baseline is not None and (compared is None or compared.text() != baseline.sha256):
        lacking.append(f"not compared with {baseline.version}, the version before")
    figures = {"checks": float(len(checks)), "failed": float(len(failed))}
    return {robot: _evidence(failed, lacking, shown, figures)}


def _shadow(release: Release, report: Node, robot: str, shown: str) -> Judged:
    limits = release.stages.shadow or ShadowStage()
    shadow = report["shadow"]
    _require_bundle(release, shadow["bundle_sha256"])
    divergence = shadow["divergence"]
    ticks = {name: divergence["ticks"][name].number() for name in _TICKS}
    compared, all_ticks = ticks["compared"], max(1.0, sum(ticks.values()))
    figures = {
        "minutes": compared / release.rate_hz / 60.0,
        "max_distance": max(divergence["max"].numbers(), default=0.0),
        "beyond_limits_share": divergence["beyond_limits"].number() / max(1.0, compared),
        "failed_share": sum(ticks[name] for name in _FAILED) / all_ticks,
        "missed_share": (ticks["skipped"] + ticks["lost"]) / all_ticks,
    }
    steps = divergence.get("rms_steps")
    if steps is not None:
        figures["rms_steps"] = max(steps.numbers(), default=0.0)
    joints = divergence["joints"].texts()
    worst = _worst(joints, divergence["max"].numbers())
    beyond = [
        f"{what}: {figures[what]:.4g}, at most {limit:g}{f' ({worst})' if worst else ''}"
        for what, limit in (
            ("max_distance", limits.max_distance),
            ("rms_steps", limits.max_rms_steps),
            ("beyond_limits_share", limits.max_beyond_limits_share),
            ("failed_share", limits.max_failed_share),
        )
        if figures.get(what, 0.0) > limit
    ]
    return {robot: _evidence(beyond, _too_short(figures, limits.min_minutes), shown, figures)}


def _canary(release: Release, report: Node, robot: str, shown: str) -> Judged:
    limits = release.stages.canary or CanaryStage()
    state = report["state"].text()
    if state == "none":
        return {robot: _evidence([], ["no trial"], shown, {})}
    _require_bundle(release, report["bundle_sha256"])
    figures = {"minutes": report["run_time_s"].number() / 60.0}
    if state in _GOOD_TRIALS:
        return {robot: _evidence([], _too_short(figures, limits.min_minutes), shown, figures)}
    reason = f"trial {state}: {report['reason'].text()}"
    bad = [reason] if state == _FAILED_TRIAL else []
    return {robot: _evidence(bad, [reason], shown, figures)}


def _production(release: Release, report: Node, robot: str, shown: str) -> Judged:
    found = dict[str, RobotEvidence]()
    for state in report["robots"].elements():
        name, health = state["robot"].text(), state["health"].text()
        reasons = state["reasons"].texts()
        figures = {"minutes": state["run_s"].number() / 60.0}
        if release.sha256 not in state["sha256"].text().split(", "):
            runs = state["policy"].text() or "no policy that is known"
            found[name] = _evidence([], [f"it runs {runs}"], shown, figures)
        elif health == "healthy":
            found[name] = _evidence([], [], shown, figures)
        else:
            texts = reasons or [health]
            bad = texts if health == "bad" else []
            found[name] = _evidence(bad, [] if bad else texts, shown, figures)
    if not found:
        raise report["robots"].wrong("robots; an empty answer is no health")
    return found


_READERS: Mapping[StageName, Callable[[Release, Node, str, str], Judged]] = {
    "simulation": _simulation,
    "shadow": _shadow,
    "canary": _canary,
    "production": _production,
}


def _evidence(
    bad: Sequence[str], lacking: Sequence[str], report: str, figures: Mapping[str, float]
) -> RobotEvidence:
    health: Health = "bad" if bad else "not_enough" if lacking else "healthy"
    return RobotEvidence(
        health=health,
        reasons=tuple(dict.fromkeys((*bad, *lacking))),
        minutes=figures.get("minutes", 0.0),
        figures=dict(figures),
        report=report,
    )


def _too_short(figures: Mapping[str, float], least_minutes: float) -> list[str]:
    minutes = figures["minutes"]
    if minutes >= least_minutes:
        return []
    return [f"{minutes:.1f} min, expected {least_minutes:g}"]


def _worst(joints: Sequence[str], values: Sequence[float]) -> str:
    return max(zip(values, joints, strict=False))[1] if joints and values else ""


def _require_bundle(release: Release, found: Node) -> None:
    if found.text() != release.sha256:
        raise found.wrong(f"{release.sha256}, the policy.yaml of {release.name} {release.version}")
