# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The file of a release: bundle, limits of each stage, and history.

The history is append-only. Each entry has a SHA-256 over the previous entry and its own content;
the first one covers everything above the history. The first entry therefore fixes the limits, and
later changes are detectable. The hashes cover what the file contains, not the defaults of keys that
it lacks, so a newer version of this tool can read and continue it. This reveals mistakes and silent
edits, but anyone who can write the file can also write a new one, so keep the file in git.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
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
EventName = Literal["recorded", "accepted", "promoted", "halted", "rolled_back"]
_SHA256 = "^[0-9a-f]{64}$"
_DIGEST = "^sha256:[0-9a-f]{64}$"
_HEADER = (
    "# A release; `model_tools release` writes it (docs/releases.md). Limits can be changed until\n"
    "# the history has its first entry; then, `release accept` accepts differences.\n"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationStage:
    """Limits of the simulation stage; contract and suite define a good walk."""

    walk_s: float = entry("length of each walk, s", default=20.0, exclusiveMinimum=2, maximum=3600)


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowStage(ShadowLimits):
    """Limits of the shadow stage, in which the version in use commands the robot."""

    min_robots: int = entry("number of robots that must have been compared", default=1, minimum=1)
    min_minutes: float = entry("time compared on each robot, min", default=10.0, minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStage:
    """Limits of the canary stage; the gates are in the robots' `trial.yaml`."""

    min_robots: int = entry("number of robots whose trial must have passed", default=1, minimum=1)
    min_minutes: float = entry("RUN time on each robot, min", default=5.0, minimum=0)
    unchecked_gates: tuple[str, ...] = entry(
        "gates that trials may leave out (null in trial.yaml)", default=()
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ProductionStage:
    """Limits of the production stage, on all robots."""

    min_robots: int = entry(
        "number of robots that must run the version and be healthy", default=1, minimum=1
    )
    min_share: float = entry(
        "share of robots that must run the version and be healthy",
        default=1.0,
        minimum=0,
        maximum=1,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseStages:
    """Limits by stage; null marks a skipped stage, visible to all readers."""

    simulation: SimulationStage | None = entry(
        "limits of the simulation stage; null skips it", default=SimulationStage()
    )
    shadow: ShadowStage | None = entry(
        "limits of the shadow stage; null skips it", default=ShadowStage()
    )
    canary: CanaryStage | None = entry(
        "limits of the canary stage; null skips it", default=CanaryStage()
    )
    production: ProductionStage = entry("limits of the production stage", default=ProductionStage())


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """The version that the robots ran before, and to which they roll back."""

    version: str = entry("version of the bundle", pattern=VERSION)
    sha256: str = entry("SHA-256 of the bundle's policy.yaml", pattern=_SHA256)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineDifference:
    """A key whose value in the contract differs from the baseline's."""

    key: str = entry("key in policy.yaml")
    in_use: str = entry("value in the baseline")
    candidate: str = entry("value in the candidate")


@dataclass(frozen=True, slots=True, kw_only=True)
class RobotEvidence:
    """Evidence from a report about one robot, judged by the stage's limits."""

    health: Health = entry("verdict on the robot")
    reasons: tuple[str, ...] = entry("reasons why the robot is not healthy", default=())
    minutes: float = entry("observed time, min", default=0.0, minimum=0)
    figures: dict[str, float] = entry("measured figures", default={})
    report: str = entry("report file, relative to the release")
    host: str = entry("machine that the report is about; empty if not stated", default="")
    run: str = entry("trial or flight that the report is about; empty if not stated", default="")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReleaseEvent:
    """One entry of the history."""

    at: str = entry("time of the event, UTC")
    by: str = entry("person responsible")
    event: EventName = entry("type of event")
    stage: StageName = entry("stage of the event; for a promotion, the stage that begins")
    reason: str = entry("reason for the event", default="")
    accepted: tuple[str, ...] = entry("contract keys whose differences are intended", default=())
    robots: dict[str, RobotEvidence] = entry("evidence by robot", default={})
    files: dict[str, str] = entry("SHA-256 of each report and recording, by file", default={})
    chain: str = entry("SHA-256 over the previous entry and this one", pattern=_SHA256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """Content of a release file."""

    kind: Literal["release"] = entry("kind of file")
    name: str = entry("name of the bundle", pattern=NAME)
    version: str = entry("version of the bundle", pattern=VERSION)
    sha256: str = entry(
        "SHA-256 of the bundle's policy.yaml, as reported by robots", pattern=_SHA256
    )
    digest: str = entry("digest of the bundle's manifest, as pulled by robots", pattern=_DIGEST)
    rate_hz: float = entry("policy ticks per second", exclusiveMinimum=0)
    baseline: Baseline | None = entry(
        "version that the robots ran before; null for the first release", default=None
    )
    differences: tuple[BaselineDifference, ...] = entry(
        "differences between the bundle's contract and the baseline's", default=()
    )
    accepted_differences: tuple[str, ...] = entry(
        "contract keys whose differences are intended; a key includes all keys below it", default=()
    )
    expected: dict[str, ExpectedDistance] = entry(
        "expected distance between the bundle's targets and the baseline's, from evidence in the "
        "two bundles; keys are pairs of back ends, `BASELINE CANDIDATE`; pairs without evidence "
        "are omitted",
        default={},
    )
    stages: ReleaseStages = entry("limits of each stage", default=ReleaseStages())
    history: tuple[ReleaseEvent, ...] = entry("events so far", default=())

    @property
    def asked(self) -> tuple[StageName, ...]:
        """The stages that are not skipped, in order."""
        return tuple(name for name in STAGES if getattr(self.stages, name) is not None)  # type: ignore[misc]

    @property
    def stage(self) -> StageName:
        """The current stage."""
        promoted = [event.stage for event in self.history if event.event == "promoted"]
        return promoted[-1] if promoted else self.asked[0]

    @property
    def unaccepted(self) -> tuple[ContractDifference, ...]:
        """Differences between the contracts of bundle and baseline that no person has accepted."""
        found = [ContractDifference(**dataclasses.asdict(one)) for one in self.differences]
        later = [key for event in self.history for key in event.accepted]
        return not_accepted(found, (*self.accepted_differences, *later))

    @property
    def ended(self) -> ReleaseEvent | None:
        """The event that ended the release before its last stage; None while it continues."""
        ends = [event for event in self.history if event.event in ("halted", "rolled_back")]
        return ends[-1] if ends else None

    def evidence(self, stage: str) -> dict[str, RobotEvidence]:
        """Return the newest evidence for a stage, by robot."""
        found = dict[str, RobotEvidence]()
        for event in self.history:
            if event.event == "recorded" and event.stage == stage:
                found |= event.robots
        return found

    def sources(self, stage: str) -> dict[str, list[str]]:
        """Return the SHA-256 of all reports for a stage by robot, newest last."""
        found = dict[str, list[str]]()
        for event in self.history:
            if event.event == "recorded" and event.stage == stage:
                for robot, one in event.robots.items():
                    found.setdefault(robot, []).append(event.files.get(one.report, ""))
        return found

    def files(self, stage: str) -> dict[str, str]:
        """Return the newest SHA-256 of each file that was recorded in a stage."""
        found = dict[str, str]()
        for event in self.history:
            if event.stage == stage:
                found |= event.files
        return found


def read_release(file: Path) -> Release:
    return _parsed(read_bytes(file), file)


def _parsed(content: bytes, file: Path) -> Release:
    reader, document = Reader(str(file)), parse_yaml(content, file)
    release = reader.section(Release, document)
    if release is None or reader.problems:
        raise BundleError(*reader.problems)
    assert isinstance(document, dict)
    chain, history = _head_hash(document), document.get("history", [])
    for number, event in enumerate(history):
        chain = _chained(chain, event)
        if event["chain"] != chain:
            raise ToolError(
                f"{file}: history[{number}]: expected the content that `model_tools release` "
                "wrote, found a change in this entry or an earlier one; restore the file from git "
                "(to accept a difference, use `model_tools release accept`)"
            )
    return release  # type: ignore[no-any-return]  # `section` returns the given type


def write_new_release(release: Release, file: Path) -> None:
    """Write the file of a release."""
    if file.exists():
        raise ToolError(
            f"{file}: expected a path that does not exist yet, found a file; choose another "
            "--output"
        )
    _write(_plain(release), file)


def add_event(
    file: Path,
    event: EventName,
    stage: StageName,
    by: str,
    *,
    reason: str = "",
    accepted: Sequence[str] = (),
    robots: Mapping[str, RobotEvidence] | None = None,
    files: Mapping[str, str] | None = None,
    seen: Release,
) -> Release:
    """Append to the history of a release; return the new state of the release.

    Args:
        file: File of the release.
        event: Type of event.
        stage: Stage of the event.
        by: Responsible person.
        reason: Reason for the event.
        accepted: Contract keys whose differences are intended.
        robots: Evidence by robot.
        files: SHA-256 of reports and recordings, by file.
        seen: The release on which the decision was based.
    """
    content = read_bytes(file)
    release = _parsed(content, file)
    if release != seen:
        raise ToolError(
            f"{file}: expected the file to stay the same while the command runs, found it changed; "
            "try again"
        )
    # Until the first entry, a person may have left keys out or written whole numbers.
    document: Any = parse_yaml(content, file) if release.history else _plain(release)
    history = document["history"]
    added = _plain(
        ReleaseEvent(
            at=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            by=by,
            event=event,
            stage=stage,
            reason=reason,
            accepted=tuple(accepted),
            robots=dict(robots or {}),
            files=dict(files or {}),
            chain="",
        )
    )
    added["chain"] = _chained(history[-1]["chain"] if history else _head_hash(document), added)
    document["history"] = [*history, added]
    return _write(document, file)


def _plain(value: Release | ReleaseEvent) -> Any:
    return json.loads(json.dumps(dataclasses.asdict(value)))  # YAML has lists instead of tuples


def _write(document: Mapping[str, Any], file: Path) -> Release:
    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    release = _parsed(text.encode(), file)  # write only what can be read
    with whole_file(file, 0o644) as growing:
        growing.write(f"{_HEADER}{text}".encode())
    return release


def _head_hash(document: Mapping[str, Any]) -> str:
    return _sha256({key: value for key, value in document.items() if key != "history"})


def _chained(before: str, event: Mapping[str, Any]) -> str:
    return _sha256([before, {key: value for key, value in event.items() if key != "chain"}])


def _sha256(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
