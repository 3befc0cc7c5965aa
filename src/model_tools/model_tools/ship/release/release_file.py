# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The file of a release: what is released, the limits of each stage, and what has happened.

The history is only added to. Each entry has a SHA-256 over the entry before it and its own content,
and the first one over everything above the history: limits are fixed with the first entry, and
nothing can be changed later without a trace. That shows slips and quiet edits; a person who can
write the file can also write a new one, so keep it in git.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Literal

import yaml

from model_tools.errors import ToolError
from policy_core.bundle.contract import NAME, VERSION
from policy_core.bundle.contract_difference import ContractDifference, not_accepted
from policy_core.bundle.schema import Reader, entry, parse_yaml, read_bytes
from policy_core.errors import BundleError
from policy_core.safe_files import whole_file
from policy_inference.candidate.expectation import ExpectedDistance
from policy_inference.candidate.gates import ShadowLimits

STAGES = ("simulation", "shadow", "canary", "production")
Health = Literal["healthy", "bad", "not_enough"]
StageName = Literal["simulation", "shadow", "canary", "production"]
_SHA256 = "^[0-9a-f]{64}$"
_DIGEST = "^sha256:[0-9a-f]{64}$"
_HEADER = (
    "# A release; `model_tools release` writes it (docs/releases.md). Limits can be changed until\n"
    "# the history has its first entry.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationStage:
    """Limits of the stage in simulation; what a good walk is, is in the contract and the suite."""

    walk_s: float = entry("length of each walk, s", default=20.0, exclusiveMinimum=2, maximum=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowStage(ShadowLimits):
    """Limits of the stage beside the version in use, which commands."""

    min_robots: int = entry("robots that must have been compared", default=1, minimum=1)
    min_minutes: float = entry("time compared on each of them, min", default=10.0, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStage:
    """Limits of the stage on trial; the gates are in the `trial.yaml` of the robots."""

    min_robots: int = entry("robots whose trial must have passed", default=1, minimum=1)
    min_minutes: float = entry("RUN time of each of them, min", default=0.0, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionStage:
    """Limits of the stage on all robots."""

    min_robots: int = entry("robots that must run it, and be healthy", default=1, minimum=1)
    min_share: float = entry(
        "share of the robots that must run it, and be healthy", default=1.0, minimum=0, maximum=1
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStages:
    """Limits by stage; null: that stage is left out, for all who read the file to see."""

    simulation: SimulationStage | None = entry("in simulation", default=SimulationStage())
    shadow: ShadowStage | None = entry("as a shadow", default=ShadowStage())
    canary: CanaryStage | None = entry("on trial", default=CanaryStage())
    production: ProductionStage = entry("on all robots", default=ProductionStage())


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The version that the robots run before, and go back to."""

    version: str = entry("of the bundle", pattern=VERSION)
    sha256: str = entry("of its policy.yaml", pattern=_SHA256)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineDifference:
    """A key in which the contract differs from that of the baseline."""

    key: str = entry("key of policy.yaml")
    in_use: str = entry("its value in the baseline")
    candidate: str = entry("its value in the candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotEvidence:
    """What a report says about one robot, held against the limits of the stage."""

    health: Health = entry("what it proves")
    reasons: tuple[str, ...] = entry("why it is not healthy", default=())
    minutes: float = entry("how long it was watched, min", default=0.0, minimum=0)
    figures: dict[str, float] = entry("what was measured", default={})
    report: str = entry("file that says so, relative to the release")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEvent:
    """One thing that happened."""

    at: str = entry("when, UTC")
    by: str = entry("who")
    event: Literal["recorded", "promoted", "halted", "rolled_back"] = entry("what")
    stage: StageName = entry("of which stage; of a promotion the one that begins")
    reason: str = entry("why", default="")
    robots: dict[str, RobotEvidence] = entry("evidence by robot", default={})
    files: dict[str, str] = entry("SHA-256 of reports and recordings, by file", default={})
    chain: str = entry("SHA-256 over the entry before and this one", pattern=_SHA256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """The content of the file."""

    kind: Literal["release"] = entry("release")
    name: str = entry("of the bundle", pattern=NAME)
    version: str = entry("of the bundle", pattern=VERSION)
    sha256: str = entry("of its policy.yaml, as robots report it", pattern=_SHA256)
    digest: str = entry("of its manifest, as robots pull it", pattern=_DIGEST)
    rate_hz: float = entry("of the policy, Hz", exclusiveMinimum=0)
    baseline: Baseline | None = entry("before it; null for the first release", default=None)
    differences: tuple[BaselineDifference, ...] = entry(
        "where its contract differs from the baseline's", default=()
    )
    accepted_differences: tuple[str, ...] = entry(
        "keys of differences that are meant; a key covers all below it", default=()
    )
    expected: dict[str, ExpectedDistance] = entry(
        "distance of its targets from the baseline's by the evidence of the bundles, by their back "
        "ends, `BASELINE CANDIDATE`; other pairs have no evidence",
        default={},
    )
    stages: ReleaseStages = entry("limits by stage", default=ReleaseStages())
    history: tuple[ReleaseEvent, ...] = entry("what has happened", default=())

    @property
    def asked(self) -> tuple[StageName, ...]:
        """The stages that are not left out, in their order."""
        return tuple(name for name in STAGES if getattr(self.stages, name) is not None)  # type: ignore[misc]

    @property
    def stage(self) -> StageName:
        """The stage that it has come to."""
        promoted = [event.stage for event in self.history if event.event == "promoted"]
        return promoted[-1] if promoted else self.asked[0]

    @property
    def unaccepted(self) -> tuple[ContractDifference, ...]:
        """Where its contract differs from the baseline's without a person's consent."""
        found = [ContractDifference(**dataclasses.asdict(one)) for one in self.differences]
        return not_accepted(found, self.accepted_differences)

    @property
    def ended(self) -> ReleaseEvent | None:
        """What ended it before its last stage; None while it goes on."""
        ends = [event for event in self.history if event.event in ("halted", "rolled_back")]
        return ends[-1] if ends else None

    def evidence(self, stage: str) -> dict[str, RobotEvidence]:
        """Return the newest evidence of a stage by robot."""
        found = dict[str, RobotEvidence]()
        for event in self.history:
            if event.event == "recorded" and event.stage == stage:
                found |= event.robots
        return found

    def sources(self, stage: str) -> dict[str, list[str]]:
        """Return the SHA-256 of all reports of a stage by robot, the newest last."""
        found = dict[str, list[str]]()
        for event in self.history:
            if event.event == "recorded" and event.stage == stage:
                for robot, one in event.robots.items():
                    found.setdefault(robot, []).append(event.files.get(one.report, ""))
        return found

    def files(self, stage: str) -> dict[str, str]:
        """Return the newest SHA-256 of each file of a stage."""
        found = dict[str, str]()
        for event in self.history:
            if event.stage == stage:
                found |= event.files
        return found


def read_release(file: Path) -> Release:
    """Return the release in a file."""
    return _parsed(read_bytes(file), file)


def _parsed(content: bytes, file: Path) -> Release:
    reader = Reader(str(file))
    release = reader.section(Release, parse_yaml(content, file))
    if release is None or reader.problems:
        raise BundleError(*reader.problems)
    chain = _head_hash(release)
    for number, event in enumerate(release.history):
        chain = _chained(chain, event)
        if event.chain != chain:
            raise ToolError(
                f"{file}: history[{number}]: expected what `model_tools release` wrote, found that "
                "it, or what is above it, was changed since; take the file from git again"
            )
    return release  # type: ignore[no-any-return]  # `section` returns what it was given


def write_new_release(release: Release, file: Path) -> None:
    """Write the file of a release."""
    if file.exists():
        raise ToolError(f"{file}: expected nothing there yet, found a file; name another --output")
    _write(release, file)


def add_event(
    file: Path,
    event: Literal["recorded", "promoted", "halted", "rolled_back"],
    stage: StageName,
    by: str,
    *,
    reason: str = "",
    robots: Mapping[str, RobotEvidence] | None = None,
    files: Mapping[str, str] | None = None,
    seen: Release,
) -> Release:
    """Add to the history of a release; return it as it is then.

    Args:
        file: Of the release.
        event: What happened.
        stage: Of which stage.
        by: Who did it.
        reason: Why.
        robots: Evidence by robot.
        files: SHA-256 of reports and recordings, by file.
        seen: The release as it was when this was decided.
    """
    release = read_release(file)
    if release != seen:
        raise ToolError(f"{file}: expected it as it was when this began, found a change; try again")
    last = release.history[-1].chain if release.history else _head_hash(release)
    added = ReleaseEvent(
        at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
        by=by,
        event=event,
        stage=stage,
        reason=reason,
        robots=dict(robots or {}),
        files=dict(files or {}),
        chain="0" * 64,
    )
    added = dataclasses.replace(added, chain=_chained(last, added))
    release = dataclasses.replace(release, history=(*release.history, added))
    _write(release, file)
    return release


def _write(release: Release, file: Path) -> None:
    plain = json.loads(json.dumps(dataclasses.asdict(release)))  # lists, which YAML has, of tuples
    text = yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=100)
    _parsed(text.encode(), file)  # nothing is written that cannot be read
    with whole_file(file, 0o644) as growing:
        growing.write(f"{_HEADER}{text}".encode())


def _head_hash(release: Release) -> str:
    head = dataclasses.asdict(release)
    head.pop("history")
    return _sha256(head)


def _chained(before: str, event: ReleaseEvent) -> str:
    content = dataclasses.asdict(event)
    content.pop("chain")
    return _sha256([before, content])


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
