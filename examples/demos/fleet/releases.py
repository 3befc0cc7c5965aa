# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Takes a candidate through the stages of a release until the evidence stops it."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from examples.demos.fleet.candidates import ReleaseCandidate
from examples.demos.fleet.fleet import BUNDLE, CANARY, PRODUCTION, Fleet
from examples.demos.fleet.robot import DemoRobot
from examples.demos.runner import progress, wait_until

_WALK_S = 4.0
_SHADOW_TICKS = 200
_ACCEPTED = ("observations.obs.joint_vel.scale", "joints.effort_limit")
"""Contract keys whose changes would stop the bad candidates in simulation. Here the changes are
accepted as if they were intended, so that later stages show what they find.
"""
_CANARY_TRIAL_S, _PRODUCTION_TRIAL_S = 12.0, 4.0
_LIMITS: Mapping[str, Mapping[str, float]] = {
    "simulation": {"walk_s": _WALK_S},
    "shadow": {"min_minutes": 0.9 * _SHADOW_TICKS / 50.0 / 60.0},
    "canary": {"min_minutes": 0.9 * _CANARY_TRIAL_S / 60.0},
}
"""Release limits for the demo: a real release takes days; this one takes minutes."""
_TORQUE_SHARE = 0.4
"""Torque gate of the trials; the version in use reaches 0.28 with this payload, 0.21 without."""
_HEALTHY_WITHIN_S = 240.0
_ASKED_WITHIN_S = 240.0
_BY = "demo"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseResult:
    """Outcome of a release.

    Attributes:
        candidate: The released candidate.
        digest: The candidate's digest in the registry.
        stage: Stage in which the release ended; production if nothing stopped the candidate.
        reason: Why the candidate was stopped in that stage; empty if it was not stopped.
        evidence: What the release file records about each stage.
    """

    candidate: ReleaseCandidate
    digest: str
    stage: str
    reason: str
    evidence: Mapping[str, Any]


class ReleaseManager:
    """Takes one candidate at a time through the stages."""

    def __init__(self, fleet: Fleet) -> None:
        """Start from a fleet in which all robots walk."""
        self._fleet = fleet
        self._folder = fleet.folder / "releases"
        self._folder.mkdir()
        self.trials = {
            CANARY: self._trial(CANARY, _CANARY_TRIAL_S),
            PRODUCTION: self._trial(PRODUCTION, _PRODUCTION_TRIAL_S),
        }

    def _trial(self, wave: str, run_time_s: float) -> Path:
        file = self._folder / f"trial_{wave}.yaml"
        gates = {"torque_share": {"limit": _TORQUE_SHARE, "after_s": 5.0}}
        trial = {
            "run_time_s": run_time_s,
            "accepted_differences": list(_ACCEPTED),
            "gates": gates,
        }
        file.write_text(yaml.safe_dump(trial), "utf-8")
        return file

    def release(self, candidate: ReleaseCandidate, baseline: ReleaseCandidate) -> ReleaseResult:
        """Release a candidate; return its outcome."""
        fleet, file = self._fleet, self._folder / f"{candidate.version}.release.yaml"
        digest = fleet.publish(candidate)
        words = ("release", "new", candidate.folder, "--baseline", baseline.folder)
        fleet.run(*words, "--output", file)
        self._limit(file)
        stages: tuple[tuple[str, Callable[[], None]], ...] = (
            ("simulation", lambda: self._simulate(file, candidate, baseline)),
            ("shadow", lambda: self._shadow(file, candidate, digest)),
            ("canary", lambda: self._canary(file, candidate, digest)),
            ("production", lambda: self._production(file, candidate, digest)),
        )
        for stage, prove in stages:
            self._say(candidate, stage)
            prove()
            found = fleet.ask("release", "status", file)
            if found["health"] != "healthy":
                return self._stop(file, candidate, digest, found)
            if stage != "production":
                fleet.run("release", "promote", file, "--by", _BY)
        self._event("stage", f"{candidate.version} released")
        return ReleaseResult(
            candidate=candidate, digest=digest, stage=found["stage"], reason="", evidence=found
        )

    def _limit(self, file: Path) -> None:
        release = yaml.safe_load(file.read_text("utf-8"))
        release["accepted_differences"] = list(_ACCEPTED)
        for stage, limits in _LIMITS.items():
            release["stages"][stage] |= limits
        release["stages"]["production"]["min_robots"] = len(self._fleet.robots)
        file.write_text(yaml.safe_dump(release, sort_keys=False), "utf-8")

    def _stop(
        self, file: Path, candidate: ReleaseCandidate, digest: str, found: Any
    ) -> ReleaseResult:
        reason = "; ".join(found["reasons"])
        verb = "rollback" if found["stage"] in ("canary", "production") else "halt"
        self._fleet.run("release", verb, file, "--reason", reason, "--by", _BY)
        found = self._fleet.ask("release", "status", file)
        progress.info("%s is stopped in %s: %s", candidate.version, found["stage"], reason)
        self._event("stopped", f"{candidate.version} stopped in {found['stage']}")
        return ReleaseResult(
            candidate=candidate, digest=digest, stage=found["stage"], reason=reason, evidence=found
        )

    def _simulate(
        self, file: Path, candidate: ReleaseCandidate, baseline: ReleaseCandidate
    ) -> None:
        words = ("release", "record", file, "simulation", "--bundle", candidate.folder)
        self._fleet.run(*words, "--baseline", baseline.folder, "--by", _BY, accepted=(0, 1, 4))

    def _shadow(self, file: Path, candidate: ReleaseCandidate, digest: str) -> None:
        """Run the candidate as a shadow of the version in use on a robot; replay the recording."""
        robot = self._fleet.others[0] if self._fleet.others else self._fleet.canary
        self._fleet.pull(robot, digest)
        recording = self._recorded(robot, f"{BUNDLE}@{candidate.version}")
        folder = self._folder / f"{candidate.version}.shadow"
        words = ("replay", recording, "--bundle", candidate.folder, "--output", folder)
        self._fleet.run(*words, accepted=(0, 1))
        evidence = ("--evidence", f"{robot.name}={folder / 'replay.json'}")
        self._record(file, "shadow", *evidence)

    def _recorded(self, robot: DemoRobot, shadow: str) -> Path:
        """Return the recording of a robot that walks with a shadow."""
        robot.restart_policy(shadow)
        wait_until(lambda: robot.walks, f"{robot.name} to walk", _ASKED_WITHIN_S)
        try:
            robot.ask(lambda operator: operator.record_run(True), _ASKED_WITHIN_S)
            before = robot.ask(lambda operator: operator.status.shadow[0].compared, 10.0)
            wanted = before + _SHADOW_TICKS
            robot.ask(lambda operator: operator.wait_for_shadow(wanted, 200.0), _ASKED_WITHIN_S)
            said = robot.ask(lambda operator: operator.record_run(False), _ASKED_WITHIN_S)
            path = Path(said.partition(" ")[2])
            wait_until(path.exists, f"the recording {path}", 60.0)
            return path
        finally:
            robot.restart_policy("")

    def _canary(self, file: Path, candidate: ReleaseCandidate, digest: str) -> None:
        """Put the candidate on trial on the canary, whose trial record becomes the evidence."""
        self._rolled_out(candidate, digest, CANARY)
        robot = self._fleet.canary
        report = self._folder / f"{candidate.version}.trial.json"
        words = ("trial", "status", BUNDLE, "--root", robot.models)
        report.write_text(json.dumps(self._fleet.ask(*words)), "utf-8")
        self._record(file, "canary", "--evidence", f"{robot.name}={report}")

    def _production(self, file: Path, candidate: ReleaseCandidate, digest: str) -> None:
        if self._fleet.others:
            self._rolled_out(candidate, digest, PRODUCTION)
        self._fleet.wait_until_all_walk()
        report = self._folder / f"{candidate.version}.fleet.json"
        words = ("fleet", "status", "--prometheus", self._fleet.prometheus_url)
        policy = ("--policy", f"{BUNDLE}@{candidate.version}", "--wait-s", "60")
        report.write_text(json.dumps(self._fleet.ask(*words, *policy)), "utf-8")
        self._record(file, "production", "--evidence", f"fleet={report}")

    def _rolled_out(self, candidate: ReleaseCandidate, digest: str, wave: str) -> int:
        process = self._fleet.roll_out(
            candidate.version, digest, self.trials[wave], [wave], wait_s=_HEALTHY_WITHIN_S
        )
        try:
            return process.wait(2.0 * _HEALTHY_WITHIN_S)
        finally:
            process.stop()

    def _record(self, file: Path, stage: str, *evidence: object) -> None:
        words = ("release", "record", file, stage, *evidence, "--by", _BY)
        self._fleet.run(*words, accepted=(0, 1, 4))

    def _say(self, candidate: ReleaseCandidate, stage: str) -> None:
        progress.info(
            "%5.0f s  %s (%s): %s",
            self._fleet.timeline.now_s,
            candidate.version,
            candidate.title,
            stage,
        )
        self._event("stage", f"{candidate.version} {stage}")

    def _event(self, kind: str, text: str) -> None:
        self._fleet.timeline.add(kind, text)
