# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Verdict on calibration rows, as text: problems, gaps and remedies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_tools.errors import listed
from model_tools.prove.calibration.measure import (
    FEWEST,
    PUSHED,
    Direction,
    RowCoverage,
    TermCoverage,
)
from model_tools.prove.calibration.motion import SHOWN, moved_elsewhere, moved_wrongly
from policy_core.bundle.state_fields import COMMAND, STATE_FIELDS, topic_fields
from policy_core.errors import plural

_USUAL = 512
"""Number of rows that `compile` takes by default."""
_ONLY_STILL, _MOSTLY_STILL = 0.95, 0.5
_UNHEALTHY, _NOTED = 0.2, 0.001
"""Shares of rows from an unhealthy robot that are a problem, and that deserve a warning."""
_REPEATED, _SELDOM, _HALFWAY = 0.1, 0.01, 0.5
_FEW_COMMANDS = 8
_FIXED_RAD_S = 0.05
"""A body that turns more slowly than this while its legs move is on a stand; in a walk, it turns
five times as fast."""
_ALWAYS_VARY = {"last_action", *STATE_FIELDS} - {row.name for row in topic_fields(COMMAND)}
"""Fields that vary in any motion; the command may be constant."""
_PLACED = ("joint_pos", "joint_vel", "ang_vel_body", "gravity_body")
_SPANNED = ("joint_pos", "last_action")
"""Fields whose range is judged; not velocities, whose healthy range is set by rare jolts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationVerdict:
    """Problems, gaps, and properties that could not be judged; true if there are no problems."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.problems

    @property
    def words(self) -> str:
        if self.problems:
            return "not usable"
        return "usable, with gaps" if self.warnings else "usable"


def judge(found: RowCoverage) -> CalibrationVerdict:
    return CalibrationVerdict(
        problems=tuple(_problems(found)),
        warnings=tuple(_warnings(found)),
        notes=tuple(_notes(found)),
    )


def is_gap(found: Direction) -> bool:
    """Return whether the rows do not cover a direction sufficiently."""
    return _is_missing(found) or bool(_gap(found))


def _problems(found: RowCoverage) -> Iterator[str]:
    yield from moved_wrongly(found.motion)
    if found.different < FEWEST:
        yield (
            f"{plural(found.different, 'different row')} out of {found.rows} (at least "
            f"{FEWEST} are needed, 1000 to 4000 are usual): record the running policy for "
            "several minutes"
        )
    constant = [term for term in found.terms if _is_lost(term)]
    velocities = all(term.field != "joint_vel" for term in constant)
    if velocities and found.still is not None and found.still >= _ONLY_STILL:
        yield (
            f"the robot stands still in {found.still:.0%} of the rows: record it while it moves,"
            " with commands on every axis"
        )
    for term in constant:
        yield (
            f"{term.name} never changes: the recording lacks it, or nothing moved; check what the "
            "robot publishes"
        )
    if found.tilted is not None and found.tilted >= _UNHEALTHY:
        yield (
            f"the robot is tilted beyond the contract's safety.max_tilt_rad in "
            f"{found.tilted:.0%} of the rows: the IMU is mounted rotated, or the robot was lying; "
            "check the IMU's frame, or cut the recording with --from and --to"
        )
    if found.outside is not None and found.outside >= _UNHEALTHY:
        yield (
            f"joints are beyond their limits in {found.outside:.0%} of the rows: most likely the "
            "joints' names, order or signs differ from the contract"
        )
    if found.far is not None and found.far >= _UNHEALTHY:
        yield (
            f"{found.far:.0%} of the rows have values far outside those of the bundle's healthy "
            f"run ({_worst(found)}): wrong units, scales or joint order, or an IMU that is "
            "mounted rotated; or the policy was not running: cut that part with --from and --to"
        )


def _warnings(found: RowCoverage) -> Iterator[str]:
    if FEWEST <= found.different < _USUAL:
        yield (
            f"{found.different} different rows, but compile uses {_USUAL} by default, at most half "
            "of the rows, and 1000 to 4000 are usual: record more"
        )
    repeated = 1.0 - found.different / found.rows
    if repeated >= _REPEATED:
        yield f"{repeated:.0%} of the rows are duplicates, which add nothing"
    if found.still is not None and _MOSTLY_STILL <= found.still < _ONLY_STILL:
        yield (
            f"the robot stands still in {found.still:.0%} of the rows: cut that part with --from "
            "and --to, or record more motion"
        )
    if never := [way for way in found.directions if _is_missing(way)]:
        yield (
            f"the rows lack these directions: {', '.join(way.words for way in never)}; the policy "
            "was trained for them: record them too"
        )
    yield from filter(None, map(_gap, found.directions))
    if found.commands is not None and found.commands < _FEW_COMMANDS:
        yield (
            f"only {plural(found.commands, 'distinct velocity command')}: record more "
            "of them, with --every if the episodes of an environment are long"
        )
    for term in found.terms:
        if term.constant and term.field != "velocity_command" and not _is_lost(term):
            yield f"{term.name} never changes for {listed(term.constant, SHOWN)}"
        if term.field in _SPANNED and term.span is not None and 0.0 < term.span < _HALFWAY:
            yield (
                f"{term.name} spans only {term.span:.0%} of its range in a healthy run: values "
                "beyond that will be clipped; record livelier motion"
            )
        if term.shifted and term.field in _PLACED and (found.far or 0.0) < _UNHEALTHY:
            worst = sorted(term.shifted.items(), key=lambda item: -item[1])
            off = [f"{name} by {value:.1f} standard deviations" for name, value in worst]
            yield (
                f"{term.name} is shifted relative to a healthy run: {listed(off, SHOWN)}; check "
                "the joints' order and signs, and the IMU's mounting"
            )
    yield from moved_elsewhere(found.motion)
    if found.turning_rad_s is not None and found.turning_rad_s < _FIXED_RAD_S:
        yield (
            f"joints move, but the body turns at only {found.turning_rad_s:.2g} rad/s: is the "
            "robot on a stand? Record it on the floor"
        )
    for share, what in (
        (found.tilted, "are tilted beyond the contract's safety.max_tilt_rad"),
        (found.outside, "have joints beyond their limits"),
        (found.far, "have values far outside those of the bundle's healthy run"),
    ):
        if share is not None and _NOTED <= share < _UNHEALTHY:
            where = f" ({_worst(found)})" if share is found.far else ""
            yield f"{share:.1%} of the rows {what}{where}"


def _notes(found: RowCoverage) -> Iterator[str]:
    if found.far is None:
        yield (
            "the bundle has no nominal figures, so it is unknown whether values are healthy"
            " (model_tools complete --simulate, --rollout or --bag)"
        )
    if found.still is None:
        yield "the rows do not show whether the robot moves"


def _is_lost(term: TermCoverage) -> bool:
    """Return whether a term that varies in any motion is constant."""
    return term.field in _ALWAYS_VARY and len(term.constant) == len(term.names)


def _is_missing(found: Direction) -> bool:
    return found.reached <= PUSHED * found.trained


def _gap(found: Direction) -> str:
    trained = f"the policy was trained up to {found.trained:g} {found.unit}"
    if _is_missing(found):
        return ""
    if found.reached < _HALFWAY * found.trained:
        return f"{found.words} only up to {found.reached:.2g} {found.unit}: {trained}"
    if found.share < _SELDOM:
        return f"{found.words} in only {found.share:.1%} of the rows: {trained}; record more"
    return ""


def _worst(found: RowCoverage) -> str:
    return listed((f"{name} in {share:.0%}" for name, share in found.far_values.items()), SHOWN)
