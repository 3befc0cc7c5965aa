# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Pull a bundle from a registry into the store or a folder; interrupted pulls can be resumed."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from policy_core.bundle.bundle import Bundle, hosted_file
from policy_core.bundle.load import load_bundle
from policy_core.bundle.schema import read_bytes
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.statements import DowngradeStatement
from policy_core.bundle.store import current_version
from policy_core.errors import PolicyError
from policy_store.activation import is_older
from policy_store.durable import (
    FILE_MODE,
    FOLDER_MODE,
    errors_renamed,
    locked,
    make_folders,
    private_folder,
    remove,
    require_own,
    room_bytes,
    sync_folder,
    writing,
)
from policy_store.install import Installed, absent_backends, install
from policy_store.installed import has_signature, is_installed
from policy_store.registry.access import RegistryAccess
from policy_store.registry.client import Progress
from policy_store.registry.manifest import ALGORITHM, Layer
from policy_store.registry.remote import PullRequest, RemoteBundle, find_bundle
from policy_store.statements import require_valid, signed_statement

_COPIES = 2
"""Number of copies of the files during an installation: the pulled and the installed files."""


def pull_to_store(
    request: PullRequest,
    access: RegistryAccess,
    root: Path,
    trusted: TrustedKeys | None,
    progress: Progress,
) -> Installed:
    """Pull a bundle and install it, without putting it into use.

    If the pull is interrupted, the downloaded files stay in a hidden folder next to the versions,
    and the next pull of the same digest resumes with them.

    Args:
        request: The request.
        access: Options for access to the registry.
        root: Folder of all installed bundles.
        trusted: Keys, one of which must have signed the bundle and the statements. If None,
            signatures are not checked, and revocations are not pulled.
        progress: Receives the number of bytes transferred, and the total.
    """
    model = root / request.reference.name
    found = find_bundle(request, access, model, trusted)
    absent = absent_backends(found.contract, request.backends, str(request.reference))
    _refuse_downgrade(request, found, model, trusted)
    folder = model / found.contract.version
    signature_sha256 = found.signature_sha256 if trusted else None
    is_whole = is_installed(folder, found.content, request.backends)
    if is_whole and has_signature(folder / hosted_file(found.contract), signature_sha256):
        bundle = load_bundle(folder, trusted, kind=Bundle)
        return Installed(folder=folder, bundle=bundle, is_new=False, absent=absent)
    wanted, origin = found.wanted(request.backends), f"{request.reference.place}@{found.digest}"
    growing = model / f".pulling.{found.digest[len(ALGORITHM) :][:8]}"
    with writing(root), locked(require_own(make_folders(growing))):
        _download(found, wanted, growing, progress, _COPIES)
        made = install(growing, root, trusted, backends=request.backends, origin=origin)
        remove(growing)
    return made


def pull_to_folder(
    request: PullRequest,
    access: RegistryAccess,
    output: Path,
    trusted: TrustedKeys | None,
    progress: Progress,
) -> Sequence[str]:
    """Pull a bundle into a new folder; return the back ends whose models were not requested.

    Nothing stays if the pull is interrupted, since the parent folder may belong to another user.
    Arguments and errors are the same as for `pull_to_store`. The version may be older than the one
    in use.
    """
    output = output.resolve()
    if os.path.lexists(output):
        raise PolicyError(
            f"{output}: expected a path that does not exist yet; choose another --output"
        )
    found = find_bundle(request, access, None, trusted)
    absent = absent_backends(found.contract, request.backends, str(request.reference))
    with (
        writing(output.parent),
        private_folder(make_folders(output.parent)) as (inside, growing),
    ):
        with errors_renamed(lambda text: text.replace(str(inside), str(output))):
            _download(found, found.wanted(request.backends), inside, progress, copies=1)
            load_bundle(inside, trusted, kind=Bundle).verify(request.backends)
        inside.chmod(FOLDER_MODE)
        growing.rename(output)
        sync_folder(output.parent)
    return absent


def _refuse_downgrade(
    request: PullRequest, found: RemoteBundle, model: Path, trusted: TrustedKeys | None
) -> None:
    current, version = current_version(model), found.contract.version
    if current is None or not is_older(version, current):
        return
    file, option = request.allow_downgrade, "--allow-downgrade"
    if file is None:
        raise PolicyError(
            f"{request.reference}: expected a version that is not older than {current} (which is "
            f"in use), found {version}; go back to an installed version with `policy_store "
            f"rollback`, or pass a signed statement that allows this version with {option} FILE"
        )
    if trusted is None:
        raise PolicyError(
            f"{option}: expected public keys to check the statement with, found none; name them "
            "with --public-key"
        )
    content, signature = read_bytes(file), read_bytes(signature_path(file))
    allowed = signed_statement(content, signature, str(file), DowngradeStatement, trusted)
    if (allowed.name, allowed.version, allowed.digest) != (model.name, version, found.digest):
        raise PolicyError(
            f"{file}: expected a statement about {model.name} {version} {found.digest}, found one "
            f"about {allowed.name} {allowed.version} {allowed.digest}"
        )
    require_valid(allowed.issued, allowed.expires, model, str(file))


def _download(
    found: RemoteBundle, wanted: Sequence[Layer], folder: Path, progress: Progress, copies: int
) -> None:
    """Download layers into a folder, which may contain some of them from an interrupted pull.

    Args:
        found: The bundle.
        wanted: Layers to download.
        folder: The folder, which belongs to this user.
        progress: Same as for `pull_to_store`.
        copies: Number of copies of the files that will exist.
    """
    files = {folder / layer.title: layer for layer in wanted}
    for other in [path for path in folder.rglob("*") if path.is_file() and path not in files]:
        remove(other)  # left by a pull for other back ends
    total = sum(layer.size_bytes for layer in wanted)
    there = sum(file.stat().st_size for file in files if file.exists())
    room = room_bytes(folder)
    if total * copies - there > room:
        raise PolicyError(
            f"{folder.parent}: expected {total * copies / 1e6:.1f} MB of free space, found "
            f"{room / 1e6:.1f} MB; `policy_store prune` removes old versions"
        )
    done = 0
    for file, layer in files.items():
        make_folders(file.parent)
        found.repository.download(layer, file, _shifted(progress, done, total))
        file.chmod(FILE_MODE)
        done += layer.size_bytes
        progress(done, total)
    sync_folder(folder)


def _shifted(progress: Progress, before: int, total: int) -> Progress:
    return lambda done, _: progress(before + done, total)
