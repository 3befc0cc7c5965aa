# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Finds and checks the content of a registry: statements, contract, the layers to download.

The signature covers the contract, the contract names each file with its SHA-256, and a layer of the
registry is addressed by the same SHA-256: the registry cannot choose what is downloaded, only
whether. Only the requested files of a bundle are downloaded: the contract, its signature, golden
rows, statistics, reports, and the models of the back ends.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

from policy_core.bundle.bounded_yaml import LARGEST_BYTES
from policy_core.bundle.bundle import CONTRACT_FILE, SET_FILE, hosted_file, stated_hashes
from policy_core.bundle.set_bundle import parse_hosted
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.statements import (
    CHANNEL_NAME,
    CHANNEL_TAG,
    ChannelStatement,
    DowngradeStatement,
    RevocationStatement,
    kept,
    revoked_versions,
)
from policy_core.bundle.store import REVOKED_TAG
from policy_core.errors import PolicyError
from policy_store.install import absent_backends, require_expected
from policy_store.registry.access import RegistryAccess, RegistryError
from policy_store.registry.client import RegistryRepository
from policy_store.registry.manifest import (
    ALGORITHM,
    BUNDLE_TYPE,
    STATEMENT_TYPE,
    Layer,
    RegistryReference,
    is_version_tag,
    make_digest,
    parse_manifest,
    version_tag,
)
from policy_store.statements import (
    STATEMENT_FILE,
    STATEMENT_SIGNATURE,
    S,
    keep,
    require_newer,
    require_valid,
    signed_statement,
)

_LARGEST_SIGNATURE_BYTES = 1 << 12


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A request for a bundle.

    Attributes:
        reference: Location of the bundle.
        channel: Name of the channel that selects the version; empty if the reference does.
        backends: Back ends whose models are requested; None for all.
        allow_downgrade: Signed statement that allows a version older than the one in use.
        expected: NAME@VERSION that it must be; empty for any.
    """

    reference: RegistryReference
    channel: str = ""
    backends: Collection[str] | None = None
    allow_downgrade: Path | None = None
    expected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBundle:
    """A bundle at a registry whose contract, signature and version order were checked.

    Attributes:
        repository: Its location.
        digest: Of its manifest.
        contract: Its contract.
        small: Bytes of contract and signature, by file.
        wanted: Layers of the other requested files.
        absent: Back ends whose models were not requested.
    """

    repository: RegistryRepository
    digest: str
    contract: HostedContract
    small: Mapping[str, bytes]
    wanted: Sequence[Layer]
    absent: Sequence[str]


def remote_statement(
    repository: RegistryRepository, tag: str, place: str
) -> tuple[bytes, bytes] | None:
    """Return a statement at a registry and its signature; None if the tag does not exist."""
    manifest = repository.manifest(tag)
    if manifest is None:
        return None
    layers = parse_manifest(manifest, STATEMENT_TYPE, f"{place}:{tag}")
    return (
        _small(repository, layers, STATEMENT_FILE, LARGEST_BYTES),
        _small(repository, layers, STATEMENT_SIGNATURE, _LARGEST_SIGNATURE_BYTES),
    )


def remote_version(
    repository: RegistryRepository,
    reference: RegistryReference,
    digest: str,
    trusted: TrustedKeys | None,
) -> str:
    """Return the version of the bundle with that digest at a registry.

    Args:
        repository: Its location.
        reference: The same, for messages.
        digest: Of its manifest.
        trusted: Keys of which one must have signed it; None checks no signature.
    """
    _, contract, _, _ = _contract(repository, reference, digest, trusted)
    return contract.version


def update_revocations(
    reference: RegistryReference, access: RegistryAccess, model: Path, trusted: TrustedKeys
) -> Mapping[str, str]:
    """Store the newest revocations of a bundle; return the reasons for revocation by version.

    Args:
        reference: Location of the bundle, without tag and digest.
        access: Options for access to the registry.
        model: Folder of the installed versions, where newer statements are stored.
        trusted: Keys of which one must have signed it.
    """
    if reference.tag or reference.digest:
        raise PolicyError(
            f"--revocations: expected a reference without tag and digest, found {reference}"
        )
    return _revoked(reference, RegistryRepository(reference, access), model, trusted)


def find_bundle(
    request: PullRequest, access: RegistryAccess, model: Path | None, trusted: TrustedKeys | None
) -> RemoteBundle:
    """Return the requested bundle; only the contract and its signature are downloaded.

    Args:
        request: The request.
        access: Options for access to the registry.
        model: Folder of the installed versions, where newer statements are stored; None for none.
        trusted: Keys of which one must have signed bundle and statements. None: signatures are not
            checked, and revocations are not read.
    """
    reference, repository = request.reference, RegistryRepository(request.reference, access)
    asked, wanted_version = reference.digest or reference.tag, ""
    if is_version_tag(reference.tag):
        wanted_version = reference.tag
    if request.channel:
        channel = _channel(request, repository, model, trusted)
        asked, wanted_version = channel.digest, channel.version
    if not asked:
        raise PolicyError(
            f"{reference}: expected a version, such as {reference}:1.2.0, a digest, or --channel, "
            "found none"
        )
    revoked = _revoked(reference, repository, model, trusted)
    digest, contract, small, layers = _contract(repository, reference, asked, trusted)
    version = contract.version
    if wanted_version and version_tag(version) != version_tag(wanted_version):
        raise RegistryError(
            f"{reference}: expected version {wanted_version}, found {version}; the registry has a "
            "different bundle under this tag"
        )
    require_expected(contract, request.expected, str(reference))
    if version in revoked:
        raise PolicyError(
            f"{reference}: expected a version that is not revoked, found {version}, "
            f"which is revoked: {revoked[version]}"
        )
    absent = absent_backends(contract, request.backends, str(reference))
    wanted = _wanted(contract, layers, request.backends, str(reference))
    return RemoteBundle(
        repository=repository,
        digest=digest,
        contract=contract,
        small=small,
        wanted=wanted,
        absent=absent,
    )


def _channel(
    request: PullRequest,
    repository: RegistryRepository,
    model: Path | None,
    trusted: TrustedKeys | None,
) -> ChannelStatement:
    reference = request.reference
    if trusted is None or reference.tag or reference.digest:
        raise PolicyError(
            f"--channel: expected public keys, and a reference without tag and digest, found "
            f"{reference} and {'keys' if trusted else 'no keys (--public-key)'}"
        )
    if not re.fullmatch(CHANNEL_NAME, request.channel):
        raise PolicyError(
            f"--channel: expected text that matches {CHANNEL_NAME}, found {request.channel!r}"
        )
    tag = CHANNEL_TAG + request.channel
    found = _accepted(repository, reference, tag, ChannelStatement, model, trusted)
    if found is None or found[0].channel != request.channel:
        shown = "none" if found is None else f"the channel {found[0].channel}"
        raise RegistryError(
            f"{reference}: expected the channel {request.channel}, found {shown}; publish its "
            "signed statement with `model_tools push`"
        )
    channel, content = found
    require_valid(channel.issued, channel.expires, model, f"{reference}:{tag}")
    if model is not None:
        keep(model, channel, content)
    return channel


def _revoked(
    reference: RegistryReference,
    repository: RegistryRepository,
    model: Path | None,
    trusted: TrustedKeys | None,
) -> Mapping[str, str]:
    """Return the reasons for revocation by version, according to the newest statement."""
    if trusted is not None:
        found = _accepted(repository, reference, REVOKED_TAG, RevocationStatement, model, trusted)
        if found is not None:
            if model is not None:
                keep(model, *found)
            return found[0].versions
    return {} if model is None else revoked_versions(model)


def _accepted(
    repository: RegistryRepository,
    reference: RegistryReference,
    tag: str,
    cls: type[S],
    model: Path | None,
    trusted: TrustedKeys,
) -> tuple[S, bytes] | None:
    """Return a statement of the registry that follows the previously accepted one."""
    place = f"{reference.host}/{reference.repository}:{tag}"
    remote = remote_statement(repository, tag, place)
    if remote is None:
        return None
    statement = signed_statement(*remote, place, cls, trusted)
    if statement.name != reference.name:
        raise RegistryError(f"{place}: expected one of {reference.name}, found {statement.name}")
    if model is not None and not isinstance(statement, DowngradeStatement):
        require_newer(statement, kept(model, tag), place)
    return statement, remote[0]


def _contract(
    repository: RegistryRepository,
    reference: RegistryReference,
    asked: str,
    trusted: TrustedKeys | None,
) -> tuple[str, HostedContract, dict[str, bytes], dict[str, Layer]]:
    """Return digest, contract, the bytes of contract and signature, and the layers by title."""
    place = f"{reference.host}/{reference.repository}"
    manifest = repository.manifest(asked)
    if manifest is None:
        raise RegistryError(f"{place}: expected {asked}, found nothing; check name and tag")
    layers = parse_manifest(manifest, BUNDLE_TYPE, f"{place} {asked}")
    file = Path(place, SET_FILE if SET_FILE in layers else CONTRACT_FILE)

    def read(name: str) -> bytes:
        return _small(repository, layers, name, LARGEST_BYTES)

    content, signature = read(file.name), signature_path(file).name
    small = {file.name: content}
    if signature in layers:
        small[signature] = _small(repository, layers, signature, _LARGEST_SIGNATURE_BYTES)
    if trusted is not None:
        trusted.find_signer(
            file, content, BytesIO(small[signature]) if signature in small else None
        )
    contract = parse_hosted(content, file, read)
    if contract.name != reference.name:
        raise RegistryError(
            f"{place}: expected a bundle that is named like its repository, {reference.name}, "
            f"found {contract.name}"
        )
    return make_digest(manifest), contract, small, layers


def _small(
    repository: RegistryRepository, layers: Mapping[str, Layer], title: str, limit_bytes: int
) -> bytes:
    layer = layers.get(title)
    if layer is None or layer.size_bytes > limit_bytes:
        found = "none" if layer is None else f"{layer.size_bytes} bytes"
        raise RegistryError(
            f"{title}: expected a layer of at most {limit_bytes} bytes, found {found}"
        )
    return repository.blob(layer)


def _wanted(
    contract: HostedContract,
    layers: Mapping[str, Layer],
    backends: Collection[str] | None,
    place: str,
) -> list[Layer]:
    wanted = []
    for name, sha256 in stated_hashes(contract, backends).items():
        layer = layers.get(name)
        if layer is None or layer.digest != ALGORITHM + sha256:
            found = "none" if layer is None else layer.digest
            raise RegistryError(
                f"{place}: expected a layer {name!r} with sha256:{sha256}, as "
                f"{hosted_file(contract)} states, found {found}"
            )
        wanted.append(layer)
    return wanted
