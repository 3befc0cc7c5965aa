# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install a version of a bundle: copy it, verify the copy, and move it to its final name."""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

from policy_core.bundle.body import SENSITIVITY
from policy_core.bundle.bundle import (
    AnyBundle,
    Bundle,
    list_policies,
    model_sha256,
    stated_hashes,
)
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import parse_hosted
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.store import RECORD_FILE
from policy_core.errors import PolicyError
from policy_store.bundle_source import BundleFolder, opened, require_room
from policy_store.durable import (
    copy_synced,
    errors_renamed,
    hidden,
    locked,
    make_folders,
    move_folder,
    remove,
    room_bytes,
    sync_folder,
    write_text,
    writing,
)
from policy_store.installed import has_signature, is_installed, make_record

_MEASURE = (
    "`model_tools sensitivity --record --force` measures the error that the policy survives, and "
    "replaces the report"
)
_TRAIN = (
    "the policy failed with this error, or a smaller one, in simulated walks: train it with the "
    "error, or state a smaller one if the estimator's error on your robot is smaller"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Result of an installation.

    Attributes:
        folder: The version's folder.
        bundle: The verified bundle.
        is_new: True if the version was not installed before, was damaged, or had a different
            signature.
        replaced: Folder with this version's former files; None if there were none.
        was_damaged: True if the former files were damaged; False if only the signature differed.
        absent: Back ends whose models were not requested, and are not installed.
    """

    folder: Path
    bundle: Bundle
    is_new: bool
    replaced: Path | None = None
    was_damaged: bool = False
    absent: Sequence[str] = ()


def install(
    path: Path,
    root: Path,
    trusted: TrustedKeys | None = None,
    *,
    backends: Collection[str] | None = None,
    expected: str = "",
    origin: str = "",
) -> Installed:
    """Install a bundle, from a folder or an archive, below a root, without putting it into use.

    The contract, its signature and the files that the contract names are copied, and every hash is
    verified on the copy. A policy is refused if a report (`model_tools sensitivity --record`) says
    that it does not survive the stated error of its base velocity estimator. A version that is
    already installed is not changed, unless it is damaged or has a different signature (a key was
    rotated), and has the same contract; in that case, it is replaced, and the old files stay until
    `prune`.

    Args:
        path: The folder, or the archive.
        root: Folder of all installed bundles; created if missing.
        trusted: Keys, one of which must have signed the bundle; None requires no signature.
        backends: Back ends whose models are installed; None for all. The version is then complete
            for these back ends, and no others can be added.
        expected: Required NAME@VERSION; "" for any.
        origin: Source to record; "" for `path`.
    """
    room = room_bytes(root)
    with opened(path, room) as source:
        file, content = source.read_contract()
        signature = source.read(signature_path(file).name)
        signature_sha256 = None
        if trusted is not None:  # before anything is parsed
            trusted.find_signer(file, content, signature)
            signature_sha256 = hashlib.sha256(signature or b"").hexdigest()
        contract = parse_hosted(content, file, lambda name: _member_contract(source, name))
        require_expected(contract, expected, path)
        absent = absent_backends(contract, backends, path)
        backends = backends if absent else None
        model, replaced = root / contract.name, None
        folder = model / contract.version
        with writing(root), locked(make_folders(model)):
            is_whole = is_installed(folder, content, backends)
            is_new = not (is_whole and has_signature(folder / file.name, signature_sha256))
            if is_new:
                with _growing(model, path) as growing:
                    copy_synced(BytesIO(content), growing / file.name)
                    if signature is not None:
                        copy_synced(BytesIO(signature), growing / signature_path(file).name)
                    _copy(source, growing, stated_hashes(contract, backends), room)
                    bundle = load_bundle(growing, trusted, kind=Bundle)
                    bundle.verify(backends)
                    for policy in list_policies(bundle):
                        _require_survived(policy)
                    record = make_record(
                        bundle, source=origin or str(path.resolve()), backends=backends
                    )
                    write_text(growing / RECORD_FILE, json.dumps(record, indent=2) + "\n")
                    if folder.exists():
                        replaced = model / hidden(f"{folder.name}.replaced")
                        move_folder(folder, replaced)
                    move_folder(growing, folder)
        return Installed(
            folder=folder,
            bundle=load_bundle(folder, trusted, kind=Bundle),
            is_new=is_new,
            replaced=replaced,
            was_damaged=replaced is not None and not is_whole,
            absent=absent,
        )


def require_expected(contract: HostedContract, expected: str, place: Path | str) -> None:
    """Raise PolicyError if a bundle is not the expected NAME@VERSION ("" accepts any)."""
    found = f"{contract.name}@{contract.version}"
    if expected not in ("", found):
        raise PolicyError(f"{place}: expected {expected}, found {found}; nothing was installed")


def absent_backends(
    contract: HostedContract, backends: Collection[str] | None, place: Path | str
) -> list[str]:
    """Return a contract's back ends that were not requested.

    Raises:
        PolicyError: A model has no artifact for a requested back end.
    """
    known = sorted({name for model in contract.models.values() for name in model.artifacts})
    if backends is None:
        return []
    for key, model in contract.models.items():
        if lacking := sorted(set(backends) - set(model.artifacts)):
            raise PolicyError(
                f"{place}: expected back ends listed in {key}.artifacts "
                f"({', '.join(model.artifacts)}), found {', '.join(lacking)}; tensorrt and "
                "rknn_sim can build theirs from the onnx artifact"
            )
    return [name for name in known if name not in backends]


def _member_contract(source: BundleFolder, name: str) -> bytes:
    content = source.read(name)
    if content is None:
        raise PolicyError(f"{source.path / name}: expected the contract of a member, found nothing")
    return content


@contextmanager
def _growing(model: Path, path: Path) -> Iterator[Path]:
    """Yield a hidden folder, which is removed at the end unless it was moved.

    Errors about files in this folder name the files at the source, `path`, instead.
    """
    growing = model / hidden("installing")
    try:
        make_folders(growing)
        with errors_renamed(lambda text: text.replace(str(growing), str(path))):
            yield growing
    finally:
        if growing.exists():
            remove(growing)


def _copy(source: BundleFolder, growing: Path, names: Iterable[str], room: int) -> None:
    """Copy files from the source; skip missing files, which `Bundle.verify` reports."""
    size, folders = 0, {growing}
    for name in names:
        file = growing / name
        with suppress(FileNotFoundError), source.open(name) as stream:
            size += os.fstat(stream.fileno()).st_size
            require_room(source.path, size, room)
            make_folders(file.parent)
            copy_synced(stream, file)
            folders.add(file.parent)
    for folder in folders:
        sync_folder(folder)


def _require_survived(policy: AnyBundle) -> None:
    """Raise PolicyError if a report says that a policy does not survive its estimator's error."""
    estimation = policy.contract.estimation
    if estimation is None:
        return
    for key in policy.contract.reports:
        if not key.startswith(SENSITIVITY):
            continue
        report, backend = policy.report(key) or {}, key.removeprefix(SENSITIVITY)
        if report.get("model_sha256") != model_sha256(policy.contract, backend):
            raise PolicyError(
                f"{policy.file}: reports.{key}: expected a report about the model in the bundle, "
                f"found a report about a different model; {_MEASURE}"
            )
        stated = report.get("survived_error_mps", math.nan)
        survived = float(stated) if type(stated) in (int, float) else math.nan
        if not estimation.error_mps <= survived < math.inf:
            wanted = (
                f"{key} to state an error that the policy survives on {backend}, found none"
                if math.isnan(survived)
                else f"at most {survived:g} m/s (the error that the policy survives on {backend}, "
                f"according to {key}), found {estimation.error_mps:g} m/s"
            )
            raise PolicyError(
                f"{policy.file}: estimation.error_mps: expected {wanted}; "
                + (_TRAIN if _has_failed(report, estimation.error_mps) else _MEASURE)
            )


def _has_failed(report: Mapping[str, Any], error_mps: float) -> bool:
    """Return whether a report says that the policy failed with this error or a smaller one."""
    levels = report.get("levels")
    return any(
        isinstance(level, dict)
        and level.get("holds") is False
        and type(level.get("error_mps")) in (int, float)
        and level["error_mps"] <= error_mps
        for level in (levels if isinstance(levels, list) else [])
    )
