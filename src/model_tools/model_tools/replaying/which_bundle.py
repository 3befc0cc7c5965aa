# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The bundle of a recording: where it is now, and whether another is the same function."""

from __future__ import annotations

import hashlib
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np

from model_tools.comparison.same_function import check_same_function
from model_tools.errors import ToolError
from model_tools.replaying.recording import FlightRecording
from policy_inference.bundle.contract import JointContract
from policy_inference.bundle.installed import bundle_folder
from policy_inference.bundle.load import CONTRACT_FILE, Bundle, load_bundle, read_contract
from policy_inference.bundle.verified import sha256_of
from policy_inference.errors import BundleError, PolicyError


def recorded_bundle(recording: FlightRecording) -> Bundle:
    """Return the bundle that a recording names: where it was, else an installed one.

    Raises:
        ToolError: None of them is the one that was recorded; says what was found.
        PolicyError: It is, and is broken.
    """
    info, found = recording.info, []
    for place in _places(recording):
        file = place / CONTRACT_FILE
        sha256 = sha256_of(file) if file.is_file() else "no bundle"
        if sha256 == info.bundle_sha256:
            return load_bundle(place)
        found.append(f"{place}: {sha256}")
    raise ToolError(
        f"{recording.path}: expected the bundle that ran, {info.policy}, whose {CONTRACT_FILE} has "
        f"the sha256 {info.bundle_sha256}, found {'; '.join(found) or 'none'}; give it, or another "
        "one to see what would have differed, with --bundle")


def _places(recording: FlightRecording) -> list[Path]:
    """Return where the bundle may be: where it was, or installed."""
    info = recording.info
    places = [Path(info.bundle)]
    for name in (f"{info.bundle_name}@{info.bundle_version}", info.bundle_name):
        with suppress(PolicyError):  # it is not installed
            places.append(bundle_folder(name))
    return places


def recorded_contract(recording: FlightRecording) -> JointContract:
    """Return the contract that was recorded.

    Raises:
        ToolError: It is broken, or not the one whose hash was recorded.
    """
    info = recording.info
    found = hashlib.sha256(info.contract.encode("utf-8")).hexdigest()
    if found != info.bundle_sha256:
        raise ToolError(f"{recording.path}: flight_info: contract: expected the {CONTRACT_FILE} "
                        f"that ran, of the recorded sha256 {info.bundle_sha256}, found a text of "
                        f"{found}; the recording was changed")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, CONTRACT_FILE)
        file.write_bytes(info.contract.encode("utf-8"))
        try:
            return read_contract(file)
        except BundleError as error:
            raise ToolError(f"{recording.path}: flight_info: contract: expected the policy.yaml "
                            f"that ran, found: {str(error).replace(str(file), '')}") from error


def difference(contract: JointContract, bundle: Bundle) -> str:
    """Return what changes behaviour between the recorded contract and a bundle; empty: nothing."""
    statistics = {}
    for name, observation in contract.observations.items():
        ours = bundle.contract.observations.get(name)
        known = bundle.statistics.get(name)
        if observation.normalisation is None:
            continue
        same = (known is not None and ours is not None and ours.normalisation is not None
                and ours.normalisation.sha256 == observation.normalisation.sha256)
        # Of another file, nothing is known but that it is another.
        statistics[name] = known if same and known else (np.full(1, np.nan), np.full(1, np.nan))
    recorded = Bundle(path=Path("the recording"), contract=contract, content=b"",
                      statistics=statistics)  # fmt: skip
    try:
        check_same_function(recorded, bundle)
    except ToolError as error:
        return str(error)
    return ""
