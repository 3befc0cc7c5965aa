# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Install a version of a bundle: copied, verified, then moved to its final name."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from policy_core.bundle.body import SENSITIVITY
from policy_core.bundle.bounded_yaml import LARGEST_BYTES
from policy_core.bundle.bundle import (
    CONTRACT_FILE,
    HOSTED_FILES,
    SET_FILE,
    AnyBundle,
    Bundle,
    hosted_file,
    list_policies,
    model_sha256,
    stated_hashes,
)
from policy_core.bundle.load import load_bundle
from policy_core.bundle.set_bundle import parse_hosted
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.store import ALGORITHM, RECORD_FILE, read_record
from policy_core.errors import BundleError, PolicyError
from policy_store.bundle_source import BundleFolder, opened
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
from policy_store.installed import check_version, hash_files, make_record

_SHOWN = 6
_RESULTS = "bpu_output"
_WORKSPACE = {"workspace.json", "build_all.sh", "build.log"}
"""As `model_tools.ship.compilers.bpu_workspace`, whose package is not on robots."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed:
    """Result of an installation.

    Attributes:
        folder: Of the version.
        bundle: The verified bundle.
        is_new: Whether it was not installed before, or was damaged.
        damaged: The damaged files of this version that it replaces; None if there were none.
        left: Files that were not copied because no signature covers them.
        absent: Back ends whose models were not requested.
    """

    folder: Path
    bundle: Bundle
    is_new: bool
    damaged: Path | None = None
    left: Sequence[str] = ()
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
    """Install the bundle in a folder or an archive below a root, without putting it into use.

    Every hash in the contract is verified on the copy. A policy that did not survive the stated
    error of its base velocity estimator (`model_tools sensitivity --record`) is refused. A version
    that is already installed is not changed, unless it is damaged and this is the bundle that was
    installed: then it is replaced, and the damaged files stay until `prune`. If keys are
    configured, only files that the signature covers are copied: the contract and the files that it
    names.

    Args:
        path: The folder, or the archive.
        root: Folder of all installed bundles; created if missing.
        trusted: Keys of which one must have signed it; None needs no signature.
        backends: Back ends whose models are installed; None for all. The version is complete for
            them and never gets others.
        expected: NAME@VERSION that it must be; empty for any.
        origin: Source to record, if it is not `path`.
    """
    with opened(path, room_bytes(root)) as source:
        file = path / next(name for name in HOSTED_FILES if name in source.names)
        content = _content(source, file, trusted)
        contract = parse_hosted(content, file, lambda name: _read(source, path, name))
        require_expected(contract, expected, path)
        absent = absent_backends(contract, backends, path)
        model = root / contract.name
        with writing(root):
            make_folders(model)
            with (
                locked(model),
                _growing(model) as growing,
                errors_renamed(lambda text: text.replace(str(growing), str(path))),
            ):
                names = _wanted(source.names, contract, backends)
                left = [] if trusted is None else _not_covered(names, contract)
                bundle, hashes = _copied(
                    source,
                    growing,
                    trusted,
                    [name for name in names if name not in set(left)],
                    backends if absent else None,
                )
                if bundle.content != content:
                    raise PolicyError(
                        f"{path}: expected a bundle that no program changes meanwhile, "
                        "found that its contract has changed; begin again"
                    )
                folder = model / contract.version
                is_damaged = _is_damaged(folder, bundle)
                is_new, damaged = is_damaged or not folder.exists(), None
                if is_new:
                    record = make_record(
                        bundle,
                        hashes,
                        source=origin or str(path.resolve()),
                        modified_s=source.modified_s(_first_model(contract, hashes)),
                        backends=backends if absent else None,
                    )
                    write_text(growing / RECORD_FILE, json.dumps(record, indent=2) + "\n")
                    if is_damaged:
                        damaged = model / hidden(f"{folder.name}.damaged")
                        move_folder(folder, damaged)
                    move_folder(growing, folder)
                else:
                    # a version installed for more back ends is complete for these, too
                    others = stated_hashes(contract).keys() - hashes.keys()
                    _require_same(folder, hashes, path, [*left, *others])
        return Installed(
            folder=folder,
            bundle=load_bundle(folder, trusted, kind=Bundle),
            is_new=is_new,
            damaged=damaged,
            left=left,
            absent=absent,
        )


def require_expected(contract: HostedContract, expected: str, place: Path | str) -> None:
    """Raise PolicyError if a bundle differs from the expected one.

    Args:
        contract: Of the bundle.
        expected: Its NAME@VERSION; empty for any.
        place: The bundle, for messages.
    """
    found = f"{contract.name}@{contract.version}"
    if expected not in ("", found):
        raise PolicyError(f"{place}: expected {expected}, found {found}; nothing was installed")


def absent_backends(
    contract: HostedContract, backends: Collection[str] | None, place: Path | str
) -> list[str]:
    """Return the back ends whose models are not requested.

    Args:
        contract: Of the bundle.
        backends: Requested back ends; None for all.
        place: The bundle, for messages.
    """
    known = sorted({name for model in contract.models.values() for name in model.artifacts})
    if backends is None:
        return []
    for key, model in contract.models.items():
        if lacking := sorted(set(backends) - set(model.artifacts)):
            raise PolicyError(
                f"{place}: expected back ends that {key} has an artifact for "
                f"({', '.join(model.artifacts)}), found {', '.join(lacking)}; tensorrt and "
                "rknn_sim can build theirs from that of onnx"
            )
    return [name for name in known if name not in backends]


def _content(source: BundleFolder, file: Path, trusted: TrustedKeys | None) -> bytes:
    """Return the contract's bytes; if keys are configured, check the signature before parsing."""
    content = _read(source, file.parent, file.name)
    if trusted is not None:
        name = signature_path(file).name
        with ExitStack() as stack:
            signature = stack.enter_context(source.open(name)) if name in source.names else None
            trusted.find_signer(file, content, signature)
    return content


def _read(source: BundleFolder, path: Path, name: str) -> bytes:
    if name not in source.names:
        raise PolicyError(f"{path / name}: expected the contract of a member, found nothing")
    with source.open(name) as stream:
        content = stream.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise PolicyError(
            f"{path / name}: expected a contract of at most {LARGEST_BYTES >> 20} MiB, found a "
            "larger file"
        )
    return content


@contextmanager
def _growing(model: Path) -> Iterator[Path]:
    """Yield a hidden folder, which is removed at the end unless it was moved."""
    growing = model / hidden("installing")
    try:
        make_folders(growing)
        yield growing
    finally:
        if growing.exists():
            remove(growing)


def _wanted(
    names: Sequence[str], contract: HostedContract, backends: Collection[str] | None
) -> list[str]:
    """Return the files to copy, without the models of other back ends.

    For a chunk policy, also leave out a compiler's workspace around them: files in the folders of
    its graphs and results that the contract does not name, usually a gigabyte of calibration data.
    """
    stated = stated_hashes(contract)
    others = stated.keys() - stated_hashes(contract, backends).keys()
    names = [name for name in names if name not in others]
    if not contract.graphs:
        return names
    folders = {*contract.graphs, _RESULTS}
    return [
        name
        for name in names
        if name in stated or not (name in _WORKSPACE or name.split("/")[0] in folders)
    ]


def _not_covered(names: Sequence[str], contract: HostedContract) -> list[str]:
    file = hosted_file(contract)
    covered = {file, signature_path(Path(file)).name, *stated_hashes(contract)}
    return [name for name in names if name not in covered]


def _first_model(contract: HostedContract, hashes: Mapping[str, str]) -> str:
    """Return the file of the first model that is installed; for a set its own file."""
    artifacts = (
        artifact for model in contract.models.values() for artifact in model.artifacts.values()
    )
    found = (artifact.file for artifact in artifacts if artifact.file in hashes)
    return next(found, hosted_file(contract))


def _copied(
    source: BundleFolder,
    growing: Path,
    trusted: TrustedKeys | None,
    names: Sequence[str],
    backends: Collection[str] | None,
) -> tuple[Bundle, dict[str, str]]:
    hashes = dict[str, str]()
    for name in names:
        file = growing / name
        make_folders(file.parent)
        with source.open(name) as stream:
            hashes[name] = copy_synced(stream, file)
    for folder in {(growing / name).parent for name in hashes}:
        sync_folder(folder)
    bundle = load_bundle(growing, trusted, kind=Bundle)
    bundle.verify(backends)
    for policy in list_policies(bundle):
        _require_survived(policy)
    return bundle, hashes


def _require_survived(policy: AnyBundle) -> None:
    """Raise if a report says that the policy does not survive its estimator's stated error."""
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
                "found a report about another model; measure again with `model_tools sensitivity "
                "--record`"
            )
        stated = report.get("survived_error_mps", math.nan)
        survived = float(stated) if type(stated) in (int, float) else math.nan
        if not estimation.error_mps <= survived < math.inf:
            shown = "none" if math.isnan(survived) else f"{survived:g} m/s"
            raise PolicyError(
                f"{policy.file}: estimation.error_mps: expected at most {shown}, the error that "
                f"the policy survives on {backend} according to {key}, found "
                f"{estimation.error_mps:g} m/s; measure the estimator's error on your robot, and "
                "train the policy with that error"
            )


def _is_damaged(folder: Path, bundle: Bundle) -> bool:
    """Return true if an installed version is damaged and was installed from this bundle.

    A version without a readable record, which nothing runs, counts as installed from any bundle.
    """
    if not folder.exists():
        return False
    try:
        check_version(folder, None)
    except PolicyError:
        try:
            return bool(read_record(folder).get("policy_hash") == ALGORITHM + bundle.sha256)
        except BundleError:
            return True
    return False


def _require_same(folder: Path, hashes: dict[str, str], path: Path, left: Sequence[str]) -> None:
    there = {name: sha256 for name, sha256 in hash_files(folder).items() if name not in left}
    other = sorted(
        name for name in there.keys() | hashes.keys() if there.get(name) != hashes.get(name)
    )
    if other:
        more = f" and {len(other) - _SHOWN} more" if len(other) > _SHOWN else ""
        raise PolicyError(
            f"{folder}: expected the content of {path}, since an installed version never changes, "
            f"found differences in {', '.join(other[:_SHOWN])}{more}; give the bundle another "
            f"version in its {SET_FILE if SET_FILE in hashes else CONTRACT_FILE}"
        )
