# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle of a policy set: `set.yaml`, and the bundles of its members."""

from __future__ import annotations

import hashlib
import os
import posixpath
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

from policy_core.bundle.body import AnyContract
from policy_core.bundle.bundle import (
    CONTRACT_FILE,
    SET_FILE,
    AnyBundle,
    B,
    Bundle,
    ModelFiles,
)
from policy_core.bundle.load import found_folder, load_bundle, parse_contract
from policy_core.bundle.resolve_set import resolve_set
from policy_core.bundle.schema import Found, Reader, parse_yaml, read_bytes
from policy_core.bundle.set_contract import HostedContract, SetContract, SetFile, SetMember
from policy_core.bundle.validate_set import validate_set
from policy_core.errors import BundleError, PolicyError, Problem

_MEMBERS = "members."
"""Prefix of member names in the contract keys of a set."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SetBundle(Bundle):
    """A policy set; the contract of each member bundle matches the hash that the set states."""

    contract: SetContract
    members: Mapping[str, AnyBundle]

    @property
    def models(self) -> tuple[ModelFiles, ...]:
        """Models of all members, by MEMBER.KEY."""
        return tuple(
            ModelFiles(folder=model.folder, key=f"{name}.{model.key}", model=model.model)
            for name, member in self.members.items()
            for model in member.models
        )

    def select_members(self, kind: type[B]) -> dict[str, B]:
        """Return the members whose bundles are of one class, by their names in the set."""
        return {name: member for name, member in self.members.items() if isinstance(member, kind)}

    def verify(self, backends: Collection[str] | None = None) -> None:
        """Verify the files of all members; see `Bundle.verify`.

        Raises:
            BundleError: Files are invalid; lists every one.
        """
        problems = list[Problem]()
        for member in self.members.values():
            try:
                member.verify(backends)
            except BundleError as error:
                problems += error.problems
        if problems:
            raise BundleError(*problems)


def parse_hosted(content: bytes, file: Path, read: Callable[[str], bytes]) -> HostedContract:
    """Return the checked contract in a `policy.yaml`, or in a `set.yaml` with its members.

    Args:
        content: Content of the file.
        file: Path of the file, for messages; a set is recognized by its file name.
        read: Returns the content of a file, given its path relative to the folder of `file`; called
            for member contracts only.

    Raises:
        BundleError: The contract is invalid, or a member is outside the folder; lists every
            problem.
        Exception: Any error from `read`.
    """
    if file.name != SET_FILE:
        return parse_contract(content, file)

    def read_contract(key: str, member: SetMember) -> AnyContract:
        folder = posixpath.normpath(member.bundle)
        if folder.startswith(("/", "..")) or folder == "." or _is_version(member.bundle):
            raise BundleError(
                Problem(
                    file=str(file),
                    key=f"{key}.bundle",
                    expected="a folder inside the set's folder (so that both are one version)",
                    found=member.bundle,
                    remedy="`model_tools pin SET --output FOLDER` writes the set with all its "
                    "members",
                )
            )
        inside = file.parent / folder / CONTRACT_FILE
        of = read(f"{folder}/{CONTRACT_FILE}")
        _require_meant(file, key, member, inside, of)
        return parse_contract(of, inside)

    return _resolved_set(content, file, read_contract)


def load_set(file: Path, content: bytes, signed_by: str | None) -> SetBundle:
    """Return the bundle of a set, with the bundles of its members.

    Args:
        file: Path of the `set.yaml`.
        content: Content of that file, read once.
        signed_by: See `Bundle.signed_by`.

    Raises:
        BundleError: Lists every problem with the set and its members.
    """
    members = dict[str, AnyBundle]()

    def read_contract(key: str, member: SetMember) -> AnyContract:
        loaded = _loaded_member(file, key, member)
        members[key.removeprefix(_MEMBERS)] = loaded
        return loaded.contract

    contract = _resolved_set(content, file, read_contract)
    return SetBundle(
        path=file.parent, contract=contract, content=content, signed_by=signed_by, members=members
    )


def _resolved_set(
    content: bytes, file: Path, read_contract: Callable[[str, SetMember], AnyContract]
) -> SetContract:
    """Return the contract of a set.

    Args:
        content: Content of `set.yaml`.
        file: File name for messages.
        read_contract: Returns the contract of a member, given its key in the set.

    Raises:
        BundleError: Lists every problem with the set and its members.
    """
    reader, value = Reader(str(file)), parse_yaml(content, file)
    stated: SetFile | None = reader.section(SetFile, value)
    if stated is None:
        raise BundleError(*reader.problems)
    validate_set(stated, reader)
    contracts = dict[str, AnyContract]()
    for name, member in stated.members.items():
        key = f"{_MEMBERS}{name}"
        try:
            contracts[name] = read_contract(key, member)
        except BundleError as error:
            reader.problems += error.problems
        except PolicyError as error:
            reader.problem(f"{key}.bundle", "an installed bundle", Found(str(error)))
    reader.require_none()
    contract = resolve_set(stated, contracts, reader)
    if contract is None:
        raise BundleError(*reader.problems)
    return contract


def member_folder(folder: Path, bundle: str) -> Path:
    """Return the folder of a member's bundle, given the bundle name in `set.yaml`.

    Raises:
        PolicyError: The named version is not installed.
    """
    return found_folder(bundle)[0] if _is_version(bundle) else folder / bundle


def _is_version(bundle: str) -> bool:
    """Return True if a member's `bundle` names an installed version, NAME@VERSION."""
    return "@" in bundle and os.sep not in bundle


def _loaded_member(file: Path, key: str, member: SetMember) -> AnyBundle:
    """Return a member's bundle, after checking the hash of its contract."""
    folder = member_folder(file.parent, member.bundle)
    inside = folder / CONTRACT_FILE
    _require_meant(file, key, member, inside, read_bytes(inside))
    return load_bundle(folder, sha256=member.sha256)


def _require_meant(file: Path, key: str, member: SetMember, inside: Path, content: bytes) -> None:
    """Raise BundleError unless a member's contract has the hash that the set states."""
    if (actual := hashlib.sha256(content).hexdigest()) != member.sha256:
        raise BundleError(
            Problem(
                file=str(file),
                key=f"{key}.sha256",
                expected=f"{actual} (the hash of {inside})",
                found=member.sha256,
                remedy="get the bundle that the set was made with, or state this hash and sign "
                "the set again",
            )
        )
