# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes the hashes of a policy set's members into its `set.yaml`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.contract_text import set_section
from model_tools.files.outputs import new_file, new_folder
from policy_core.bundle.bundle import CONTRACT_FILE, SET_FILE, stated_hashes
from policy_core.bundle.load import load_bundle
from policy_core.bundle.schema import load_yaml, parse_yaml
from policy_core.bundle.set_bundle import SetBundle, member_folder
from policy_core.bundle.verified import sha256_file
from policy_core.errors import BundleError


def pin(folder: Path, output: Path | None = None) -> tuple[SetBundle, list[str]]:
    """Write the current hash of each member's contract into `set.yaml`.

    Args:
        folder: Folder of the set.
        output: New folder for the set and all its members, each in a folder with the member's
            name, to install as one version. None changes `set.yaml` in place.

    Returns:
        The set, and the members whose hash changed.
    """
    text, members, changed = _pinned(folder)
    if output is not None:
        return _gathered(folder, text, members, output), changed
    if changed:
        with new_file(folder / SET_FILE, force=True) as growing:
            growing.write_text(text, "utf-8")
    return load_bundle(folder, kind=SetBundle), changed


def _pinned(folder: Path) -> tuple[str, dict[str, Path], list[str]]:
    """Return the text of a set with its members' hashes, their folders, and the changed members."""
    file = folder / SET_FILE
    if not file.is_file():
        raise ToolError(f"{folder}: expected the folder of a policy set, found no {SET_FILE} in it")
    text, stated = file.read_text("utf-8"), load_yaml(file)
    members = stated.get("members") if isinstance(stated, dict) else None
    if not isinstance(members, dict) or not members:
        raise ToolError(f"{file}: members: expected policies by name, found {members!r}")
    folders, changed = dict[str, Path](), []
    for name, member in members.items():
        key, bundle = f"{file}: members.{name}", member.get("bundle") if member else None
        if not isinstance(bundle, str):
            raise ToolError(f"{key}.bundle: expected the folder of a bundle, found {bundle!r}")
        folders[name] = member_folder(folder, bundle)
        contract = folders[name] / CONTRACT_FILE
        if not contract.is_file():
            raise ToolError(f"{key}.bundle: expected the file {contract}, found none")
        sha256 = sha256_file(contract)
        if member.get("sha256") == sha256:
            continue
        text = _with(file, text, name, "sha256", sha256)
        changed.append(name)
    return text, folders, changed


def _gathered(folder: Path, text: str, members: Mapping[str, Path], output: Path) -> SetBundle:
    """Write a set with the files of all its members into a new folder; return the set."""
    file = folder / SET_FILE
    with new_folder(output, marker=SET_FILE) as growing:
        for name, member in members.items():
            source = load_bundle(member)
            for stated in (CONTRACT_FILE, *stated_hashes(source.contract)):
                place = growing / name / stated
                place.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source.path / stated, place)
            text = _with(file, text, name, "bundle", name)
        (growing / SET_FILE).write_text(text, "utf-8")
        load_bundle(growing, kind=SetBundle).verify()
    return load_bundle(output, kind=SetBundle)


def _with(file: Path, text: str, name: str, key: str, value: str) -> str:
    try:
        found = set_section(text, f"members.{name}.{key}", value)
        parse_yaml(found.encode(), file)
    except (ValueError, BundleError) as error:
        raise ToolError(
            f"{file}: members.{name}: expected one key per line (so that {key} can be written), "
            f"found another style ({error})"
        ) from error
    return found
