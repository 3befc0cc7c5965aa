# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Pulls a bundle from a registry into the store or a folder; an interrupted pull can continue."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

from policy_core.bundle.bundle import Bundle, hosted_file
from policy_core.bundle.load import load_bundle
from policy_core.bundle.signature import TrustedKeys
from policy_core.bundle.statements import DowngradeStatement
from policy_core.bundle.store import current_version
from policy_core.errors import PolicyError
from policy_store.activation import is_older
from policy_store.durable import (
    FILE_MODE,
    copy_synced,
    locked,
    make_folders,
    remove,
    room_bytes,
    sync_folder,
    writing,
)
from policy_store.install import Installed, install
from policy_store.installed import check_version
from policy_store.registry.access import RegistryAccess
from policy_store.registry.client import Progress
from policy_store.registry.manifest import ALGORITHM
from policy_store.registry.remote import PullRequest, RemoteBundle, find_bundle
from policy_store.statements import read_signed, require_valid

_COPIES = 2
"""Copies of the files during the installation: the pulled files, and the version."""
_BUNDLE, _PARTS = "bundle", "parts"


def pull_to_store(
    request: PullRequest,
    access: RegistryAccess,
    root: Path,
    trusted: TrustedKeys | None,
    progress: Progress,
) -> Installed:
    """Pull a bundle and install it, without putting it into use.

    If the pull is interrupted, the downloaded files stay hidden beside the versions, and the next
    pull of the same digest continues there.

    Args:
        request: The request.
        access: Options for access to the registry.
        root: Folder of all installed bundles.
        trusted: Keys of which one must have signed bundle and statements. None: signatures are not
            checked, and revocations are not read.
        progress: Receives the number of bytes done, and the total.
    """
    model = root / request.reference.name
    found = find_bundle(request, access, model, trusted)
    _refuse_downgrade(request, found, model, trusted)
    if (there := _installed(request, found, model, trusted)) is not None:
        return there
    with writing(root):
        make_folders(model)
        with _staging(model / f".pulling.{found.digest[len(ALGORITHM) :][:8]}") as staging:
            folder = _downloaded(found, staging, progress, copies=_COPIES)
            origin = dataclasses.replace(request.reference, tag="", digest=found.digest)
            return install(folder, root, trusted, backends=request.backends, origin=str(origin))


def _installed(
    request: PullRequest, found: RemoteBundle, model: Path, trusted: TrustedKeys | None
) -> Installed | None:
    folder = model / found.contract.version
    if not folder.is_dir():
        return None
    bundle = check_version(folder, trusted)
    if bundle.content != found.small[hosted_file(found.contract)]:
        return None  # `install` will refuse it, and list the differences
    bundle.verify(request.backends)
    return Installed(folder=folder, bundle=bundle, is_new=False, absent=found.absent)


def pull_to_folder(
    request: PullRequest,
    access: RegistryAccess,
    output: Path,
    trusted: TrustedKeys | None,
    progress: Progress,
) -> Sequence[str]:
    """Pull a bundle into a new folder; return the back ends whose models were not requested.

    Arguments and errors are those of `pull_to_store`; the version in use is not compared.
    """
    output = output.resolve()
    if os.path.lexists(output):
        raise PolicyError(f"{output}: expected nothing there yet; name another --output")
    found = find_bundle(request, access, None, trusted)
    hidden = f".{output.name}.{found.digest[len(ALGORITHM) :][:8]}"
    with writing(output.parent):
        make_folders(output.parent)
        with _staging(output.with_name(hidden)) as staging:
            folder = _downloaded(found, staging, progress, copies=1)
            load_bundle(folder, trusted, kind=Bundle).verify(request.backends)
            folder.rename(output)
            sync_folder(output.parent)
    return found.absent


def _refuse_downgrade(
    request: PullRequest, found: RemoteBundle, model: Path, trusted: TrustedKeys | None
) -> None:
    current, version = current_version(model), found.contract.version
    if current is None or not is_older(version, current):
        return
    file, option = request.allow_downgrade, "--allow-downgrade"
    if file is None:
        raise PolicyError(
            f"{request.reference}: expected a version that is not older than {current}, which is "
            f"in use, found {version}; go back to an installed version with `policy_store "
            f"rollback`, or pass a signed statement that allows this version with {option} FILE"
        )
    allowed = read_signed(file, DowngradeStatement, trusted, option)
    if (allowed.name, allowed.version, allowed.digest) != (model.name, version, found.digest):
        raise PolicyError(
            f"{file}: expected a statement about {model.name} {version} {found.digest}, found one "
            f"about {allowed.name} {allowed.version} {allowed.digest}"
        )
    require_valid(allowed.issued, allowed.expires, model, str(file))


@contextmanager
def _staging(folder: Path) -> Iterator[Path]:
    """Yield the folder for one digest; an interrupted pull leaves its files there."""
    make_folders(folder)
    with locked(folder):
        yield folder
        remove(folder)


def _downloaded(
    found: RemoteBundle,
    staging: Path,
    progress: Progress,
    *,
    copies: int,
) -> Path:
    folder, parts = staging / _BUNDLE, staging / _PARTS
    if folder.exists():  # from a pull that was killed at its end: its files count as parts again
        remove(folder)
    make_folders(parts)
    by_digest = {layer.digest: layer for layer in found.wanted}
    total = sum(layer.size_bytes for layer in by_digest.values())
    there = sum(file.stat().st_size for file in parts.iterdir() if file.is_file())
    room = room_bytes(staging)
    if total * copies - there > room:
        raise PolicyError(
            f"{staging.parent}: expected {total * copies / 1e6:.1f} MB of free space, found "
            f"{room / 1e6:.1f} MB; `policy_store prune` removes old versions"
        )
    done = 0
    for digest, layer in by_digest.items():
        found.repository.download(
            layer, parts / digest[len(ALGORITHM) :], _shifted(progress, done, total)
        )
        done += layer.size_bytes
        progress(done, total)
    make_folders(folder)
    for layer in found.wanted:
        file = folder / layer.title
        make_folders(file.parent)
        # One file with two names: no second copy, and still a part if this is interrupted.
        os.link(parts / layer.digest[len(ALGORITHM) :], file)
        file.chmod(FILE_MODE)
    for name, content in found.small.items():
        copy_synced(BytesIO(content), folder / name)
    sync_folder(folder)
    return folder


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)
