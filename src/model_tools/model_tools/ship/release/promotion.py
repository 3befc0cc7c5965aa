# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Promotion, halt and rollback of a release, and the verdict on each stage."""

from __future__ import annotations

import dataclasses
import getpass
from collections.abc import Mapping, Sequence
from pathlib import Path

from model_tools.errors import ToolError, VerdictError
from model_tools.ship.push import bundle_digest
from model_tools.ship.release.evidence import Judged, read_report
from model_tools.ship.release.release_file import (
    Baseline,
    BaselineDifference,
    Health,
    Release,
    ReleaseStages,
    StageName,
    add_event,
    read_release,
)
from policy_core.bundle.body import SENSITIVITY
from policy_core.bundle.bundle import SIGNATURE_FILE, AnyBundle, model_sha256
from policy_core.bundle.contract_difference import contract_differences, not_accepted
from policy_core.bundle.load import bundle_folder, load_bundle
from policy_core.bundle.report_subject import find_contract_problem
from policy_core.bundle.verified import sha256_file
from policy_inference.candidate.expectation import ExpectedDistance, expected_distances

EXIT_STATUS: Mapping[Health, int] = {"healthy": 0, "bad": 1, "not_enough": ToolError.exit_status}


def new_release(bundle: Path, baseline: str, left_out: Sequence[str]) -> Release:
    """Return a new release of a bundle, with default limits.

    Args:
        bundle: Folder of the bundle, already signed and as pushed; signing it later would change
            its digest.
        baseline: Folder or name of the bundle that robots ran before; empty for none.
        left_out: Stages to skip.
    """
    loaded = load_bundle(bundle)
    if not (bundle / SIGNATURE_FILE).is_file():
        raise ToolError(
            f"{bundle}: expected a signed bundle (a signature changes its digest), found no "
            f"signature; `model_tools sign {bundle} --key private.pem`"
        )
    if isinstance(loaded, AnyBundle):  # the reports of a set belong to its members
        _refuse_old_reports(loaded)
    contract, before = loaded.contract, None
    differences, expected = tuple[BaselineDifference, ...](), dict[str, ExpectedDistance]()
    if baseline:
        old = load_bundle(bundle_folder(baseline))
        if old.contract.name != contract.name or old.sha256 == loaded.sha256:
            raise ToolError(
                f"{baseline}: expected a different version of {contract.name}, found "
                f"{old.contract.name} {old.contract.version}"
            )
        ours, theirs = (sorted(one.joints.on_robot()) for one in (contract, old.contract))
        if ours != theirs:
            raise ToolError(
                f"{bundle}: expected the same joints as the baseline ({', '.join(theirs)}), found "
                f"({', '.join(ours)}); a release can only go to robots that run its baseline: "
                "choose another --baseline"
            )
        before = Baseline(version=old.contract.version, sha256=old.sha256)
        found = contract_differences(old.contract, contract)
        differences = tuple(BaselineDifference(**dataclasses.asdict(one)) for one in found)
        expected = expected_distances(old, loaded)
    defaults = ReleaseStages()
    return Release(
        kind="release",
        name=contract.name,
        version=contract.version,
        sha256=loaded.sha256,
        digest=bundle_digest(loaded),
        rate_hz=float(contract.rate_hz),
        baseline=before,
        differences=differences,
        expected=expected,
        stages=ReleaseStages(
            simulation=None if "simulation" in left_out else defaults.simulation,
            shadow=None if "shadow" in left_out or before is None else defaults.shadow,
            canary=None if "canary" in left_out else defaults.canary,
        ),
    )


def _refuse_old_reports(bundle: AnyBundle) -> None:
    """Raise ToolError if a report in a bundle is about a different contract."""
    for key, entry in bundle.contract.reports.items():
        report = bundle.report(Path(entry.file).stem) or {}
        sha256 = model_sha256(bundle.contract, key.removeprefix(SENSITIVITY))
        version = bundle.contract.version
        if problem := find_contract_problem(report, sha256, bundle.content, version):
            raise ToolError(
                f"{bundle.path / entry.file}: expected a report about the contract of {version}, "
                f"found one {problem}; record it again, or remove it from `reports`"
            )


def record(
    file: Path,
    stage: StageName,
    reports: Sequence[tuple[str, Path]],
    attached: Sequence[Path],
    by: str = "",
) -> Release:
    """Add evidence to a release; return the new state of the release.

    Args:
        file: File of the release.
        stage: Stage of the evidence; must be the release's current one.
        reports: Robot and file of each report; the newest report about each robot counts.
        attached: Additional files, such as recordings, whose SHA-256 is recorded.
        by: Person who records the evidence; the current user if empty.
    """
    release = read_release(file)
    _require_open(release, file)
    if stage != release.stage:
        raise ToolError(
            f"{file}: expected evidence for the current stage, {release.stage}, found evidence "
            f"for {stage}"
        )
    robots: Judged = {}
    sources = release.sources(stage)
    for robot, report in reports:
        found = read_report(release, stage, robot, report, _name(report, file))
        sha256 = sha256_file(report)
        _refuse_replayed(sources, found, sha256, report)
        _refuse_same_robot(release.evidence(stage) | robots, found, report)
        for name in found:
            sources.setdefault(name, []).append(sha256)
        robots |= found
    if not robots:
        raise ToolError("--evidence: expected a report, found none")
    files = {
        _name(one, file): sha256_file(one) for one in (*(path for _, path in reports), *attached)
    }
    return add_event(
        file, "recorded", stage, by or getpass.getuser(), robots=robots, files=files, seen=release
    )


def _refuse_replayed(
    sources: Mapping[str, Sequence[str]], found: Judged, sha256: str, report: Path
) -> None:
    """Raise ToolError if the report was already recorded: for another robot, or as an older report.

    Args:
        sources: SHA-256 of the reports so far, by robot.
        found: Evidence of this report, by robot.
        sha256: Hash of this report.
        report: File of this report, for messages.
    """
    others = [name for name, of in sources.items() if name not in found and sha256 in of]
    if others:
        raise ToolError(
            f"{report}: expected a report about {', '.join(found)}, found the one that was "
            f"recorded for {', '.join(others)}; each robot needs its own report"
        )
    for name in found:
        of = sources.get(name, ())
        if sha256 in of[:-1] and sha256 != of[-1]:
            raise ToolError(
                f"{report}: expected a new report about {name}, found an earlier one "
                "that is already recorded"
            )


def _refuse_same_robot(known: Judged, found: Judged, report: Path) -> None:
    """Raise ToolError if a report is about the machine or the run of another robot's evidence.

    Args:
        known: Evidence of the stage so far.
        found: Evidence of this report.
        report: File of this report, for messages.
    """
    for name, evidence in found.items():
        for other, its in known.items():
            if other == name:
                continue
            if evidence.run and evidence.run == its.run:
                problem = f"a report about the same {evidence.run}"
            elif evidence.host and evidence.host == its.host:
                problem = f"a report about the same host, {evidence.host}"
            else:
                continue
            raise ToolError(
                f"{report}: expected a report about another robot than {other}, found {problem}; "
                f"record it for {other}, or give each robot its own host name and try it again"
            )


def verdict(release: Release, stage: StageName | None = None) -> tuple[Health, Sequence[str]]:
    """Return the verdict on the evidence of a stage, and the reasons.

    Args:
        release: The release.
        stage: The stage; the current one if None.

    Returns:
        The verdict (healthy: the release may continue; bad: it must not; not_enough: evidence is
        missing), and, unless it is healthy, the reasons.
    """
    stage = stage or release.stage
    limits, robots = getattr(release.stages, stage), release.evidence(stage)
    differ = [
        f"{stage}: contract: {one}; if that is intended, accept it: `model_tools release accept`"
        for one in release.unaccepted
    ]
    least = getattr(limits, "min_robots", 1)
    share = getattr(limits, "min_share", 1.0)
    by_health = {
        health: [name for name, one in robots.items() if one.health == health]
        for health in EXIT_STATUS
    }
    healthy, bad = len(by_health["healthy"]), len(by_health["bad"])
    reasons = differ + [
        f"{stage}: {name}: {reason}"
        for name in (*by_health["bad"], *by_health["not_enough"])
        for reason in robots[name].reasons
    ]
    # Robots without enough data may still become healthy, bad ones may not.
    if differ or bad > (1.0 - share) * len(robots) + 1e-9:
        return "bad", reasons
    if healthy < least:
        reasons.append(
            "simulation: no healthy walks; `model_tools release record ... simulation --bundle`"
            if stage == "simulation"
            else f"{stage}: {healthy} healthy robots, expected {least}"
        )
    elif healthy + 1e-9 < share * len(robots):
        reasons.append(f"{stage}: {healthy} of {len(robots)} robots are healthy")
    else:
        return "healthy", []
    return "not_enough", reasons


def promote(file: Path, by: str) -> Release:
    """Start the next stage; return the new state of the release."""
    release = read_release(file)
    missing = [*verdict(release)[1], *_evidence_problems(release, file)]
    if release.ended is not None:
        missing.insert(0, f"it was {_words(release)}")
    later = release.asked[release.asked.index(release.stage) + 1 :]
    if not later:
        missing.append(f"{release.stage} is its last stage")
    if not by.strip():
        missing.append("--by: a person who approves")
    if missing:
        raise VerdictError(
            f"{file}: {release.name} {release.version} stays in {release.stage}; these problems "
            "block promotion:",
            *(f"  {one}" for one in missing),
        )
    return add_event(file, "promoted", later[0], by, seen=release)


def accept(file: Path, keys: Sequence[str], by: str) -> Release:
    """Accept differences from the baseline's contract; return the new state of the release."""
    release = read_release(file)
    _require_open(release, file)
    left = release.unaccepted
    useless = [key for key in keys if len(not_accepted(left, [key])) == len(left)]
    if useless or not by.strip():
        expected = ", ".join(one.key for one in left) or "none"
        raise ToolError(
            f"{file}: expected --by and keys that differ and are not accepted yet ({expected}), "
            f"found {', '.join(useless) or 'an empty --by'}"
        )
    return add_event(file, "accepted", release.stage, by, accepted=keys, seen=release)


def halt(file: Path, reason: str, by: str = "") -> Release:
    """Stop a release at its current stage, so that no further robot receives it."""
    release = read_release(file)
    _require_open(release, file)
    if not reason.strip():
        raise ToolError("--reason: expected the reason for the halt, found nothing")
    user = by or getpass.getuser()
    return add_event(file, "halted", release.stage, user, reason=reason, seen=release)


def roll_back_release(file: Path, reason: str, by: str = "") -> Release:
    """Roll a release back: its robots return to the previous version."""
    release = read_release(file)
    if release.ended is not None and release.ended.event == "rolled_back":
        raise ToolError(f"{file}: expected an active release, found one that was {_words(release)}")
    user = by or getpass.getuser()
    return add_event(file, "rolled_back", release.stage, user, reason=reason, seen=release)


def _evidence_problems(release: Release, file: Path) -> list[str]:
    problems = []
    for name, sha256 in release.files(release.stage).items():
        try:
            if sha256_file(file.parent / name) != sha256:
                problems.append(f"{name}: was changed after it was recorded")
        except OSError as error:
            problems.append(f"{name}: {error.strerror}")
    return problems


def _require_open(release: Release, file: Path) -> None:
    if release.ended is not None:
        raise ToolError(
            f"{file}: expected an active release, found one that was {_words(release)}; make "
            "a new one (`model_tools release new`)"
        )


def _words(release: Release) -> str:
    end = release.ended
    assert end is not None
    what = end.event.replace("_", " ")
    return f"{what} by {end.by} at {end.at}{f': {end.reason}' if end.reason else ''}"


def _name(path: Path, release_file: Path) -> str:
    """Return a file's path relative to the release file."""
    folder, path = release_file.resolve().parent, path.resolve()
    if not path.is_relative_to(folder):
        raise ToolError(
            f"{path}: expected evidence in the release's folder or below it ({folder}), so that "
            "both are kept together; copy it there"
        )
    return path.relative_to(folder).as_posix()
