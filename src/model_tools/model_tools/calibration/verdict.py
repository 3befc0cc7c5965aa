# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Whether rows will do to calibrate with, in words: what is wrong, what is missing, what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from model_tools.calibration.coverage import PUSHED, Coverage, Direction
from model_tools.compilers.samples import FEWEST

_USUAL = 512
"""`compile` takes as many."""
_ONLY_STILL, _MOSTLY_STILL = 0.95, 0.5
_UNHEALTHY, _NOTED = 0.2, 0.001
"""Shares of rows that are not of a robot at work: too many, and worth a word."""
_REPEATED, _SELDOM, HALFWAY = 0.1, 0.01, 0.5
_FIXED_RAD_S = 0.05
"""A body that turns less while its legs move stands on something; walking is five times that."""
_ALWAYS_VARY = ("joint_pos", "joint_vel", "ang_vel_body", "lin_vel_body", "last_action")
_LISTED = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What is wrong, what is missing, and what could not be judged; true if nothing is wrong."""

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    notes: tuple[str, ...]

    def __bool__(self) -> bool:
        """Return whether the rows will do."""
        return not self.problems

    @property
    def words(self) -> str:
        """The verdict in a line."""
        if self.problems:
            return "will not do"
        return "will do, with gaps" if self.warnings else "will do"


def judge(found: Coverage) -> Verdict:
    """Return the verdict."""
    return Verdict(problems=tuple(_problems(found)), warnings=tuple(_warnings(found)),
                   notes=tuple(_notes(found)))


def is_gap(found: Direction) -> bool:
    """Return whether the rows know too little of a direction."""
    return any(True for _ in _gap(found))


def _problems(found: Coverage) -> Iterator[str]:
    if found.different < FEWEST:
        yield (f"{found.different} different rows of {found.rows}, at least {FEWEST} are needed "
               "and 1000 to 4000 usual: record the policy at work, for minutes")
    if found.still is not None and found.still >= _ONLY_STILL:
        yield (f"the robot stands still in {found.still:.0%} of the rows: record it while it moves,"
               " with commands on every axis")
    for term in found.terms:
        if term.field in _ALWAYS_VARY and len(term.constant) == len(term.names):
            yield (f"{term.name} never changes: the recording lacks it, or nothing moved; see what "
                   "the robot publishes")
    if found.tilted is not None and found.tilted >= _UNHEALTHY:
        yield (f"the robot is tilted beyond the contract's safety.max_tilt_rad in "
               f"{found.tilted:.0%} of the rows: the IMU is mounted rotated, or the robot lay; see "
               "the IMU's frame, or cut the recording with --from and --to")
    if found.outside is not None and found.outside >= _UNHEALTHY:
        yield (f"joints are beyond their limits in {found.outside:.0%} of the rows: most likely "
               "joints are named or ordered otherwise than in the contract, or have other signs")
    if found.far is not None and found.far >= _UNHEALTHY:
        yield (f"{found.far:.0%} of the rows have values far outside those of the bundle's healthy "
               f"run ({_worst(found)}): look for another order of joints, an IMU that is mounted "
               "rotated, other scales; or the robot was not at work: cut the recording with --from "
               "and --to")


def _warnings(found: Coverage) -> Iterator[str]:
    if FEWEST <= found.different < _USUAL:
        yield (f"{found.different} different rows: compile takes {_USUAL} from twice as many, and "
               "1000 to 4000 are usual: record more")
    repeated = 1.0 - found.different / found.rows
    if repeated >= _REPEATED:
        yield f"{repeated:.0%} of the rows repeat others: they add nothing"
    if found.still is not None and _MOSTLY_STILL <= found.still < _ONLY_STILL:
        yield (f"stands still in {found.still:.0%} of the rows: cut that with --from and --to, or "
               "record more of its work")
    for direction in found.directions:
        yield from _gap(direction)
    for term in found.terms:
        if term.constant and term.field != "velocity_command" and not (
                term.field in _ALWAYS_VARY and len(term.constant) == len(term.names)):
            yield f"{term.name} never changes in {_listed(term.constant)}"
    if found.turning_rad_s is not None and found.turning_rad_s < _FIXED_RAD_S:
        yield (f"joints move, but the body turns by {found.turning_rad_s:.2g} rad/s only: was the "
               "robot on a stand? Record it on the floor")
    for share, what in ((found.tilted, "tilted beyond the contract's safety.max_tilt_rad"),
                        (found.outside, "with joints beyond their limits"),
                        (found.far, "with values far outside those of the bundle's healthy run")):
        if share is not None and _NOTED <= share < _UNHEALTHY:
            where = f" ({_worst(found)})" if share is found.far else ""
            yield f"{share:.1%} of the rows are {what}{where}"


def _notes(found: Coverage) -> Iterator[str]:
    if found.far is None:
        yield ("the bundle has no nominal figures, so that nothing tells whether values are healthy"
               " (model_tools complete --simulate, --rollout or --bag)")
    if found.still is None:
        yield "the rows do not tell whether the robot moves"


def _gap(found: Direction) -> Iterator[str]:
    trained = f"the policy was trained to {found.trained:g} {found.unit}"
    if found.reached <= PUSHED * found.trained:
        yield f"never {found.words}; {trained}: record it"
    elif found.reached < HALFWAY * found.trained:
        yield f"{found.words} only to {found.reached:.2g} {found.unit}; {trained}"
    elif found.share < _SELDOM:
        yield f"{found.words} in {found.share:.1%} of the rows only; {trained}: record more"


def _worst(found: Coverage) -> str:
    return _listed([f"{name} in {share:.0%}" for name, share in found.far_values.items()])


def _listed(names: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
