# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds a recording's bundle and limits, and their differences from the current ones."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.prove.comparison.same_function import check_same_function
from model_tools.prove.replaying.recording import FlightRecording
from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import CONTRACT_FILE, SET_FILE, Bundle
from policy_core.bundle.contract import VelocityCommand
from policy_core.bundle.load import bundle_folder, load_bundle, parse_contract
from policy_core.bundle.schema import parse_yaml
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BundleError, PolicyError
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import F64
from policy_core.members.chunk.settings import ChunkSettings
from policy_inference.kinds.opening import COMMAND_RANGE

_PREFIX, _CHUNKS = "limits.", "chunks."
_DAMP_AFTER = "parameter.safety.damp_after_s"
_WHOLE = ("steps", "execution_horizon")
"""Integer settings of chunks, if set."""
_READ: dict[type, Callable[[str], Any]] = {
    str: str,
    int: int,
    float: float,
    bool: {"True": True, "False": False}.__getitem__,
}
_FIXED = ("command_ramp_ns", "blend_ns")
"""Limits that an operator cannot adjust."""


def recorded_bundle(recording: FlightRecording) -> Bundle:
    """Return the bundle that a recording names: at its recorded path, otherwise installed."""
    info, found = recording.info, []
    places = [Path(info.bundle)]
    for name in (f"{info.bundle_name}@{info.bundle_version}", info.bundle_name):
        with suppress(PolicyError):  # not installed
            places.append(bundle_folder(name))
    for place in places:
        files = [file for name in (CONTRACT_FILE, SET_FILE) if (file := place / name).is_file()]
        hashes = [sha256_file(file) for file in files]
        if info.bundle_sha256 in hashes:
            return load_bundle(place, kind=Bundle)
        found.append(f"{', '.join(hashes) or 'no bundle'} in {place}")
    raise ToolError(
        f"{recording.path}: expected the bundle that ran, {info.policy} (its contract "
        f"has the sha256 {info.bundle_sha256}), found {'; '.join(found)}; pass it with --bundle, "
        "or pass a different bundle to see what would have differed"
    )


def is_of_set(recording: FlightRecording) -> bool:
    try:
        stated = parse_yaml(recording.info.contract.encode("utf-8"), recording.path)
    except BundleError:
        return False  # not a contract at all
    return isinstance(stated, dict) and stated.get("kind") == "set"


def recorded_set(recording: FlightRecording, bundle: Bundle) -> HostedContract:
    """Return the contract of the set that ran, with its members; `bundle` must be that set."""
    _require_recorded_text(recording, SET_FILE)
    info = recording.info
    if bundle.sha256 != info.bundle_sha256:
        raise ToolError(
            f"{bundle.file}: expected the set that ran, {info.policy} with sha256 "
            f"{info.bundle_sha256}, found {bundle.contract.name} {bundle.contract.version} with "
            f"{bundle.sha256}; a set can be replayed only with itself"
        )
    return bundle.contract


def recorded_contract(recording: FlightRecording) -> AnyContract:
    _require_recorded_text(recording, CONTRACT_FILE)
    info = recording.info
    where = f"{recording.path}: flight_info: contract"
    try:
        return parse_contract(info.contract.encode("utf-8"), where)
    except BundleError as error:
        raise ToolError(
            f"{where}: expected the policy.yaml that ran, found an invalid one "
            f"({str(error).replace(f'{where}: ', '')})"
        ) from error


def _require_recorded_text(recording: FlightRecording, file: str) -> None:
    info = recording.info
    found = hashlib.sha256(info.contract.encode("utf-8")).hexdigest()
    if found != info.bundle_sha256:
        raise ToolError(
            f"{recording.path}: flight_info: contract: expected the {file} that ran, with the "
            f"recorded sha256 {info.bundle_sha256}, found one with {found}; the recording was "
            "changed"
        )


def difference(contract: AnyContract, bundle: Any) -> str:
    """Return how the bundle's behavior differs from the recorded contract's; may be empty."""
    own = {"statistics": _recorded_statistics(contract, bundle)} if contract.kind == "joint" else {}
    recorded = dataclasses.replace(bundle, path=Path("the recording"), contract=contract, **own)
    try:
        check_same_function(recorded, bundle)
    except ToolError as error:
        return str(error)
    return ""


def _recorded_statistics(contract: Any, bundle: Any) -> dict[str, tuple[F64, F64]]:
    """Return the bundle's statistics if they are the recorded ones; else NaN."""
    found = {}
    for name, observation in contract.observations.items():
        ours = bundle.contract.observations.get(name)
        if observation.normalisation is not None:
            same = (
                ours
                and ours.normalisation
                and (ours.normalisation.sha256 == observation.normalisation.sha256)
            )
            unknown = np.full(1, np.nan)
            found[name] = bundle.statistics[name] if same else (unknown, unknown)
    return found


def _setting(recording: FlightRecording, key: str, read: Callable[[str], Any], what: str) -> Any:
    text = recording.info.settings.get(key)
    if text is None:
        return None
    try:
        return read(text)
    except (KeyError, ValueError) as error:
        raise ToolError(
            f"{recording.path}: flight_info: settings: {key}: expected {what}, found {text!r}"
        ) from error


def recorded_chunk_settings(recording: FlightRecording) -> ChunkSettings:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(ChunkSettings):
        key = f"{_CHUNKS}{field.name}"
        read = _READ.get(type(field.default), int if field.name in _WHOLE else float)
        value = _setting(recording, key, read, f"a value like {field.default}")
        if value is None and field.default is not None:
            raise _missing(recording, key)
        values[field.name] = value
    return ChunkSettings(**values)


def _missing(recording: FlightRecording, key: str) -> ToolError:
    return ToolError(
        f"{recording.path}: flight_info: settings: {key}: expected the value in force, found none"
    )


def recorded_command_range(recording: FlightRecording) -> VelocityCommand | None:
    """Return the range to which a trial narrowed velocity commands; None if none did."""
    found = _setting(
        recording,
        COMMAND_RANGE,
        lambda text: np.array(text.split(), float).reshape(2, 3).tolist(),
        "six numbers",
    )
    return None if found is None else VelocityCommand(min=tuple(found[0]), max=tuple(found[1]))


def recorded_stricter_limits(recording: FlightRecording) -> StricterLimits:
    """Return the limit on how long a chunk policy in a set may hold its joints, if one was set."""
    return StricterLimits(damp_after_s=_setting(recording, _DAMP_AFTER, float, "a number"))


def recorded_limits(recording: FlightRecording) -> Limits:
    values: dict[str, Any] = {}
    for field in dataclasses.fields(Limits):
        key = f"{_PREFIX}{field.name}"
        read = int if field.name.endswith("_ns") else float
        values[field.name] = _setting(recording, key, read, "a number")
        # Limits of rules that are off are not recorded; only the tilt rule can be off.
        if values[field.name] is None and field.name != "max_tilt_rad":
            raise _missing(recording, key)
    return Limits(**values)


def against_contract(limits: Limits, contract: HostedContract) -> tuple[list[str], list[str]]:
    """Return how recorded limits violate the recorded contract, and how they tighten it.

    A node refuses looser limits, so a recording with looser limits was not made by a node, or has
    been changed since.
    """
    known, broken, tightened = limits_in_force(contract, StricterLimits()), [], []
    for field in dataclasses.fields(Limits):
        found, bound = getattr(limits, field.name), getattr(known, field.name)
        if found == bound:
            continue
        said, fixed = "none" if found is None else f"{found}", field.name in _FIXED
        if not fixed and found is not None and found > 0 and (bound is None or found < bound):
            tightened.append(f"{_PREFIX}{field.name} {said} instead of {bound}")
        else:
            most = f" and at most {bound}" if bound is not None else ""
            broken.append(
                f"settings: {_PREFIX}{field.name}: expected "
                f"{bound if fixed else f'a value > 0{most}'} (from the contract), found {said}"
            )
    return broken, tightened
