# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle and the limits of a recording: where they are now, and what differs."""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.comparison.same_function import check_same_function
from model_tools.prove.replaying.recording import FlightRecording
from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import CONTRACT_FILE, SET_FILE, Bundle, JointBundle
from policy_core.bundle.contract import JointContract, VelocityCommand
from policy_core.bundle.load import bundle_folder, load_bundle, parse_contract
from policy_core.bundle.schema import parse_yaml, read_bytes
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.verified import sha256_of
from policy_core.errors import BundleError, PolicyError
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.members.chunk.settings import ChunkSettings
from policy_inference.kinds.opening import COMMAND_RANGE

_PREFIX, _CHUNKS = "limits.", "chunks."
_DAMP_AFTER = "parameter.safety.damp_after_s"
_WHOLE = ("steps", "execution_horizon")
"""Settings of chunks that are whole numbers where there is one."""
_READ: dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: {"True": True, "False": False}.__getitem__,
}
_DESCRIPTIONS = (
    "name",
    "version",
    "description",
    "golden",
    "limits",
    "reports",
    "provenance",
)
"""Keys of a chunk policy's contract that change nothing in a run."""
_FIXED = ("command_ramp_ns", "blend_ns")
"""No operator can set these."""


def recorded_bundle(recording: FlightRecording) -> Bundle:
    """Return the bundle that a recording names: where it was, else an installed one."""
    info, found = recording.info, []
    for place in _places(recording):
        files = [file for name in (CONTRACT_FILE, SET_FILE) if (file := place / name).is_file()]
        hashes = [sha256_of(file) for file in files]
        if info.bundle_sha256 in hashes:
            return load_bundle(place, kind=Bundle)
        found.append(f"{place}: {', '.join(hashes) or 'no bundle'}")
    raise ToolError(
        f"{recording.path}: expected the bundle that ran, {info.policy}, whose contract has "
        f"the sha256 {info.bundle_sha256}, found {'; '.join(found) or 'none'}; give it, or another "
        "one to see what would have differed, with --bundle"
    )


def _places(recording: FlightRecording) -> list[Path]:
    """Return where the bundle may be: where it was, or installed."""
    info = recording.info
    places = [Path(info.bundle)]
    for name in (f"{info.bundle_name}@{info.bundle_version}", info.bundle_name):
        with suppress(PolicyError):  # it is not installed
            places.append(bundle_folder(name))
    return places


def is_of_set(recording: FlightRecording) -> bool:
    """Return whether a policy set ran."""
    try:
        stated = parse_yaml(recording.info.contract.encode("utf-8"), recording.path)
    except BundleError:
        return False  # it is no contract at all
    return isinstance(stated, dict) and stated.get("kind") == "set"


def recorded_set(recording: FlightRecording, bundle: Bundle) -> HostedContract:
    """Return the contract of a set that was recorded, which is complete with its members only."""
    _require_recorded_text(recording, SET_FILE)
    info = recording.info
    if bundle.sha256 != info.bundle_sha256:
        raise ToolError(
            f"{bundle.file}: expected the set that ran, {info.policy} with sha256 "
            f"{info.bundle_sha256}, found {bundle.contract.name} {bundle.contract.version} with "
            f"{bundle.sha256}; a set is replayed with itself only"
        )
    return bundle.contract


def recorded_contract(recording: FlightRecording) -> AnyContract:
    """Return the contract that was recorded, of one policy."""
    _require_recorded_text(recording, CONTRACT_FILE)
    info = recording.info
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, CONTRACT_FILE)
        file.write_bytes(info.contract.encode("utf-8"))
        try:
            return parse_contract(read_bytes(file), file)
        except BundleError as error:
            raise ToolError(
                f"{recording.path}: flight_info: contract: expected the policy.yaml "
                f"that ran, found: {str(error).replace(str(file), '')}"
            ) from error


def _require_recorded_text(recording: FlightRecording, file: str) -> None:
    """Check that the recorded text of a contract's file is the one whose hash was recorded."""
    info = recording.info
    found = hashlib.sha256(info.contract.encode("utf-8")).hexdigest()
    if found != info.bundle_sha256:
        raise ToolError(
            f"{recording.path}: flight_info: contract: expected the {file} "
            f"that ran, of the recorded sha256 {info.bundle_sha256}, found a text of "
            f"{found}; the recording was changed"
        )


def difference(contract: JointContract, bundle: JointBundle) -> str:
    """Return what changes behaviour between the recorded contract and a bundle; empty: nothing."""
    statistics = {}
    for name, observation in contract.observations.items():
        ours = bundle.contract.observations.get(name)
        known = bundle.statistics.get(name)
        if observation.normalisation is None:
            continue
        same = (
            known is not None
            and ours is not None
            and ours.normalisation is not None
            and ours.normalisation.sha256 == observation.normalisation.sha256
        )
        # Of another file, nothing is known but that it is another.
        statistics[name] = known if same and known else (np.full(1, np.nan), np.full(1, np.nan))
    recorded = JointBundle(
        path=Path("the recording"), contract=contract, content=b"", statistics=statistics
    )
    try:
        check_same_function(recorded, bundle)
    except ToolError as error:
        return str(error)
    return ""


def chunk_difference(recording: FlightRecording, bundle: Bundle) -> str:
    """Return which parts of a chunk policy's contract differ in behaviour; empty: none."""
    recorded, ours = (
        _behaviour(content, name)
        for content, name in (
            (recording.info.contract.encode("utf-8"), f"{recording.path}: flight_info"),
            (bundle.content, f"{bundle.path / CONTRACT_FILE}"),
        )
    )
    keys = sorted(key for key in {*recorded, *ours} if recorded.get(key) != ours.get(key))
    return f"of the contract, {', '.join(keys)} differ" if keys else ""


def _behaviour(content: bytes, name: str) -> dict[str, Any]:
    """Return a contract without what only describes it, and without its files."""
    value = parse_yaml(content, name)
    assert isinstance(value, dict)  # it is a contract that holds
    graphs = {
        graph: {key: entry for key, entry in parts.items() if key != "artifacts"}
        for graph, parts in value["graphs"].items()
    }
    behaviour = {key: entry for key, entry in value.items() if key not in _DESCRIPTIONS}
    return {**behaviour, "graphs": graphs}


def chunk_settings_of(recording: FlightRecording) -> ChunkSettings:
    """Return how chunks were executed."""
    where = f"{recording.path}: flight_info: settings: {_CHUNKS}"
    values: dict[str, Any] = {}
    for field in dataclasses.fields(ChunkSettings):
        text = recording.info.settings.get(f"{_CHUNKS}{field.name}")
        if text is None:
            if field.default is not None:
                raise ToolError(f"{where}{field.name}: expected what was in force, found none")
            continue
        read = _READ.get(type(field.default), int if field.name in _WHOLE else float)
        try:
            values[field.name] = read(text)
        except (KeyError, ValueError) as error:
            raise ToolError(
                f"{where}{field.name}: expected a value like {field.default}, found {text!r}"
            ) from error
    return ChunkSettings(**values)


def command_range_of(recording: FlightRecording) -> VelocityCommand | None:
    """Return the range to which a trial narrowed velocity commands; None where none did."""
    text = recording.info.settings.get(COMMAND_RANGE)
    if text is None:
        return None
    try:
        x, y, turn, to_x, to_y, to_turn = map(float, text.split())
    except ValueError as error:
        raise ToolError(
            f"{recording.path}: flight_info: settings: {COMMAND_RANGE}: expected six numbers, "
            f"found {text!r}"
        ) from error
    return VelocityCommand(min=(x, y, turn), max=(to_x, to_y, to_turn))


def stricter_limits_of(recording: FlightRecording) -> StricterLimits:
    """Return how long a chunk policy in a set may hold its joints, if a parameter says so."""
    text = recording.info.settings.get(_DAMP_AFTER)
    try:
        return StricterLimits(damp_after_s=None if text is None else float(text))
    except ValueError as error:
        raise ToolError(
            f"{recording.path}: flight_info: settings: {_DAMP_AFTER}: expected a number, "
            f"found {text!r}"
        ) from error


def limits_of(recording: FlightRecording) -> Limits:
    """Return the limits that were in force."""
    settings = recording.info.settings
    stated = {
        key.removeprefix(_PREFIX): text for key, text in settings.items() if key.startswith(_PREFIX)
    }
    where = f"{recording.path}: flight_info: settings: {_PREFIX}"
    values: dict[str, float | int | None] = {}
    for field in dataclasses.fields(Limits):
        text = stated.get(field.name)
        if text is None:
            # One that is off is not recorded; only that of the tilt may be.
            if field.name != "max_tilt_rad":
                raise ToolError(
                    f"{where}{field.name}: expected the limit that was in force, found none"
                )
            values[field.name] = None
            continue
        try:
            values[field.name] = int(text) if field.name.endswith("_ns") else float(text)
        except ValueError as error:
            raise ToolError(f"{where}{field.name}: expected a number, found {text!r}") from error
    return Limits(**values)  # type: ignore[arg-type]  # by name, as they were recorded


def against_contract(limits: Limits, contract: HostedContract) -> tuple[list[str], list[str]]:
    """Return how recorded limits break those of the recorded contract, and how they tighten them.

    A node refuses to be given looser ones: a recording with such was not made by one, or was
    changed since.
    """
    known, broken, tightened = limits_in_force(contract, StricterLimits()), [], []
    for field in dataclasses.fields(Limits):
        found, bound = getattr(limits, field.name), getattr(known, field.name)
        if found == bound:
            continue
        fixed = field.name in _FIXED
        may = not fixed and found is not None and found > 0 and (bound is None or found < bound)
        most = f"{bound}" if fixed else "above 0" if bound is None else f"above 0, at most {bound}"
        said = "none" if found is None else f"{found}"
        if may:
            tightened.append(f"{_PREFIX}{field.name} {said} instead of {bound}")
        else:
            broken.append(
                f"settings: {_PREFIX}{field.name}: expected {most}, as the contract "
                f"says, found {said}"
            )
    return broken, tightened
