# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Open questions of a draft, and the user's answers, such as `joints.stiffness=25`."""

from __future__ import annotations

import copy
import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from model_tools.errors import ToolError
from model_tools.files.foreign import load_foreign_yaml, parse_foreign_yaml
from model_tools.make.importers.draft import TODO, Draft, Path, todo
from model_tools.make.importers.joints import unlike_pairs
from policy_core.bundle.height_scan import HeightScan
from policy_core.bundle.resolve import per_joint
from policy_core.bundle.state_fields import IMU, topic_fields
from policy_core.bundle.terms import PERCEPTION, TERMS
from policy_core.interfaces import F64

_COPY = "@"
_PART = re.compile(r"\[(\d+|\*)\]\.?|([^.\[]+)\.?")
_POSE = ("default_position", "position_min", "position_max")
_PER_JOINT = (*_POSE, "stiffness", "damping")
_SHOWN = 3
_OF_SCAN = {field.name: field.metadata["doc"] for field in dataclasses.fields(HeightScan)}
_OF_IMU = [field.name for field in topic_fields(IMU.name)]


def answer_all(draft: Draft, given: Iterable[str], file: FilePath | None = None) -> None:
    """Set the keys of the file, then every `KEY=VALUE`, which takes precedence.

    A key may contain `[*]` for each element of a list. The value `@other.key` copies that key's
    value once everything else is answered.
    """
    answers = (read_answers(file) if file is not None else {}) | dict(map(_parsed, given))
    for key, value in sorted(answers.items(), key=lambda one: _is_copy(one[1])):
        _answer(draft, key, value)


def read_answers(file: FilePath) -> dict[str, Any]:
    """Return the keys and values of a YAML file, such as `joints.stiffness: 25`."""
    content = load_foreign_yaml(file)
    if not isinstance(content, dict):
        raise ToolError(f"{file}: expected answers as KEY: VALUE, found {type(content).__name__}")
    return {str(key): value for key, value in content.items()}


def drop(draft: Draft, key: str) -> None:
    """Remove a key, such as a TODO that does not apply."""
    for path in _paths(draft, key):
        place = draft.find(path[:-1])
        if not isinstance(place, dict) or path[-1] not in place:
            raise ToolError(f"--drop: expected a key of the draft, found {key!r}")
        del place[path[-1]]


def _parsed(given: str) -> tuple[str, Any]:
    key, found, written = given.partition("=")
    if not found or not key:
        raise ToolError(f"--set: expected KEY=VALUE, found {given!r}")
    if written.startswith(_COPY):
        return key, written
    return key, parse_foreign_yaml(written, f"--set {key}")


def _answer(draft: Draft, key: str, value: Any) -> None:
    if _is_copy(value):
        value = _copied(draft, key, value)
    for path in _paths(draft, key):
        _note_what_it_replaces(draft, key, path, value)
        _set(draft, path, value, f"answered: {key}")


def _is_copy(value: Any) -> bool:
    return isinstance(value, str) and value.startswith(_COPY)


def _copied(draft: Draft, key: str, written: str) -> Any:
    value = draft.find(_paths(draft, written.removeprefix(_COPY))[0])
    if "*" in written or value is None or (isinstance(value, Mapping) and TODO in value):
        raise ToolError(
            f"{key}: expected, after {_COPY}, a key that has a value, found {written!r}"
        )
    return copy.deepcopy(value)


def _note_what_it_replaces(draft: Draft, key: str, path: Path, value: Any) -> None:
    """Add a note on an answer that overrides the source; refuse a different joint order."""
    stated = draft.find(path)
    if stated is None or stated == value or (isinstance(stated, Mapping) and TODO in stated):
        return
    if path == ("joints", "names"):
        raise ToolError(
            f"{key}: expected the joint order of {draft.source} (its other per-joint values use "
            "the same order), found a different order; use --joints only for a source without names"
        )
    if isinstance(stated, (int, float, str)) or path[0] == "velocity_command":
        draft.remark(f"{key} is {value}, as answered, although {draft.source} states {stated}")


def _set(draft: Draft, path: Path, value: Any, origin: str) -> None:
    place = draft.find(path[:-1])
    if path[:-1] and isinstance(place, dict):
        place.pop(TODO, None)
    elif path[:-1] and place is not None:
        raise ToolError(f"{origin}: expected a section, found {place!r}")
    draft.put(path, value, "" if any(isinstance(part, int) for part in path) else origin)


def _paths(draft: Draft, key: str) -> list[Path]:
    """Return the paths that a key stands for; names that contain dots are found in the draft."""
    paths = [()]  # type: list[Path]
    rest = key
    while rest or not paths[0]:
        name = _present_name(draft, paths[0], rest)
        if name is not None:
            paths, rest = [(*path, name) for path in paths], rest[len(name) :].removeprefix(".")
            continue
        match = _PART.match(rest)
        if match is None:
            raise ToolError(f"{key}: expected a key like observations.obs.terms[0].scale")
        paths = [longer for path in paths for longer in _extended(draft, path, match, key)]
        rest = rest[match.end() :]
    return paths


def _extended(draft: Draft, path: Path, match: re.Match[str], key: str) -> Iterator[Path]:
    """Yield the path with the matched part appended; for a star, with each index of the list."""
    if match[1] is None:
        yield (*path, match[2])
        return
    values = draft.find(path)
    count = len(values) if isinstance(values, list) else 0
    chosen = range(count) if match[1] == "*" else [int(match[1])]
    if not count or max(chosen) >= count:
        raise ToolError(
            f"{key}: expected an index below {count} (the list's length), found [{match[1]}]"
        )
    yield from ((*path, i) for i in chosen)


def _present_name(draft: Draft, path: Path, rest: str) -> str | None:
    """Return the longest key at `path` that is a prefix of `rest`."""
    place = draft.find(path) if path else draft.values
    names = place if isinstance(place, dict) else {}
    fitting = [name for name in names if rest == name or rest.startswith((f"{name}.", f"{name}["))]
    return max(fitting, key=len, default=None)


_VELOCITY_SOURCE = (
    "source of base_lin_vel on {robot}: estimator (from legs and IMU; needs --robot go2, g1, lite3 "
    "or a folder with figures.yaml), measured (a node of yours publishes odom with the velocity in "
    "the base frame; no driver of this suite does), or none (then train without this term)"
)


def ask_what_follows(draft: Draft, robot: str) -> None:
    """Ask for command ranges, term options, and the tilt limit of robots with an IMU.

    A robot with an IMU may lie folded up before it stands, so the draft mentions `stand.via`.
    """
    terms = [(path, term) for path, term in draft.terms() if isinstance(term["term"], str)]
    names = {term["term"] for _, term in terms}
    if "velocity_command" in names:
        draft.ask("velocity_command.min", "lowest [vx, vy, yaw rate] in training, m/s and rad/s")
        draft.ask("velocity_command.max", "highest [vx, vy, yaw rate] in training, m/s and rad/s")
    has_imu = any(TERMS[name].field in _OF_IMU for name in names if name in TERMS)
    safety = draft.find("safety")
    if has_imu and not (isinstance(safety, dict) and "max_tilt_rad" in safety):
        draft.ask(
            "safety.max_tilt_rad",
            "maximum angle between the body's up axis and the world's, rad; null for a robot "
            "without an IMU",
        )
    if has_imu and not draft.find("stand.via"):
        draft.remark(
            "stand.via is not set: standing up goes straight to stand.position. A robot "
            "that lies folded may need less torque through other poses: --set "
            "'stand.via=[{position: ..., duration_s: 1}]'"
        )
    for path, term in terms:
        if term["term"] == "phase":
            draft.ask((*path, "period_s"), "period of the phase, s")
        if term["term"] == "base_lin_vel":
            draft.ask((*path, "source"), _VELOCITY_SOURCE.format(robot=robot))
        if term["term"] == "external":
            draft.ask((*path, "topic"), "relative topic of the vector")
            draft.ask((*path, "size"), "number of values")
        if term["term"] == "height_scan":
            _ask_scan(draft, path)
        if term["term"] in ("depth", "image"):
            for key, default in (("topic", f"{PERCEPTION}camera"), (term["term"], {})):
                if draft.find((*path, key)) is None:
                    draft.put((*path, key), default)


def _ask_scan(draft: Draft, path: Path) -> None:
    """Ask for optional keys of a scan; `Draft.complete` asks for the required keys."""
    if draft.find((*path, "topic")) is None:
        draft.put((*path, "topic"), f"{PERCEPTION}height_scan")
    key = (*path, "scan")
    scan = draft.find(key)
    if not isinstance(scan, dict):
        draft.put(key, scan := {})
    if "points_m" not in scan:
        scan.setdefault("grid", {})
    stated = {name: scan.get(name) for name in ("alignment", "reach_m", "invalid")}
    for name, is_open in (
        ("heading", stated["alignment"] not in ("base", "world")),
        ("reach_m", True),
        ("miss", "reach_m" not in scan or stated["reach_m"] is not None),
        ("invalid_value", stated["invalid"] == "value"),
    ):
        if is_open and name not in scan:
            draft.put((*key, name), todo(_OF_SCAN[name]))


def note_oddities(draft: Draft) -> None:
    """Add notes on signs of a wrong joint order: asymmetric sides, or a pose beyond limits."""
    names = draft.find("joints.names")
    values = {
        key: found
        for key in _PER_JOINT
        if (found := _each(draft.find(f"joints.{key}"), names)) is not None
    }
    for key in ("default_position", "stiffness", "damping"):
        if key in values and (pairs := unlike_pairs(names, values[key].tolist())):
            draft.remark(
                f"left and right differ in joints.{key}: {_some(pairs)}: check that the joints "
                "are in the policy's order"
            )
    for joints, scale in _scales(draft):
        if pairs := unlike_pairs(joints, scale.tolist()):
            draft.remark(
                f"left and right differ in the scale of the action: {_some(pairs)}: check that "
                "the joints are in the policy's order"
            )
    if len(values.keys() & _POSE) == len(_POSE):
        pose, low, high = (values[key] for key in _POSE)
        beyond = [
            f"{name} {at:g}, {least:g} to {most:g}"
            for name, at, least, most in zip(names, pose, low, high, strict=True)
            if not least <= at <= most
        ]
        if beyond:
            draft.remark(
                f"joints.default_position is outside the joints' limits: {_some(beyond)}: check "
                "that the joints are in the policy's order and that it is the same robot; keep "
                "the robot's own limits"
            )


def _scales(draft: Draft) -> Iterator[tuple[list[str], F64]]:
    """Yield the joints and scales of each action term, where known."""
    terms = draft.find("action.terms")
    for i in range(len(terms) if isinstance(terms, list) else 0):
        joints = draft.find(("action", "terms", i, "joints"))
        scale = _each(draft.find(("action", "terms", i, "scale")), joints)
        if scale is not None:
            yield joints, scale


def _each(value: Any, names: Any) -> F64 | None:
    """Return the value for each name; None if any is open or wrong, which the loader reports."""
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        return None
    try:
        return per_joint(value, names)
    except (ValueError, TypeError):
        return None


def _some(found: Sequence[str]) -> str:
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(found[:_SHOWN]) + more
