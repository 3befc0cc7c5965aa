# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The hashes of the members of a policy set, written where the set states them."""

from __future__ import annotations

from pathlib import Path

from model_tools.errors import ToolError
from model_tools.files.contract_text import set_section
from model_tools.files.outputs import new_file
from policy_inference.bundle.bundle import CONTRACT_FILE, SET_FILE, SetBundle
from policy_inference.bundle.load import load_bundle, member_folder
from policy_inference.bundle.schema import load_yaml, parse_yaml
from policy_inference.bundle.verified import sha256_of
from policy_inference.errors import BundleError


def pin(folder: Path) -> tuple[SetBundle, list[str]]:
    """State in `set.yaml` the hash that each member's contract has now.

    Args:
        folder: Of the set.

    Returns:
        The set, and the members whose hash is another one now.

    Raises:
        ToolError: There is no `set.yaml`, it names no members, one of them is not there, or a
            member is not written in block style.
        BundleError: What is wrong with the set beside its hashes; they are written then, too.
        OSError: The file cannot be written.
    """
    file = folder / SET_FILE
    if not file.is_file():
        raise ToolError(f"{folder}: expected a policy set, a folder with a {SET_FILE}, found none")
    text, stated = file.read_text("utf-8"), load_yaml(file)
    members = stated.get("members") if isinstance(stated, dict) else None
    if not isinstance(members, dict) or not members:
        raise ToolError(f"{file}: members: expected policies by name, found {members!r}")
    changed = []
    for name, member in members.items():
        key, bundle = f"{file}: members.{name}", member.get("bundle") if member else None
        if not isinstance(bundle, str):
            raise ToolError(f"{key}.bundle: expected the folder of a bundle, found {bundle!r}")
        contract = member_folder(folder, bundle) / CONTRACT_FILE
        if not contract.is_file():
            raise ToolError(f"{key}.bundle: expected the file {contract}, found none")
        sha256 = sha256_of(contract)
        if member.get("sha256") == sha256:
            continue
        text = _with_hash(file, text, name, sha256)
        changed.append(name)
    if changed:
        with new_file(file, force=True) as growing:
            growing.write_text(text, "utf-8")
    return load_bundle(folder, kind=SetBundle), changed


def _with_hash(file: Path, text: str, name: str, sha256: str) -> str:
    """Return the text of a set with the hash of a member."""
    try:
        found = set_section(text, f"members.{name}.sha256", sha256)
        parse_yaml(found.encode(), file)
    except (ValueError, BundleError) as error:
        raise ToolError(
            f"{file}: members.{name}: expected a key on each line, so that sha256 can be written; "
            f"found another style ({error})"
        ) from error
    return found
