# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Find and check the content of a registry: statements, contract, and layers to download.

The signature covers the contract, the contract names each file with its SHA-256, and a registry
layer is addressed by the same SHA-256, so the registry cannot choose what is downloaded, only
withhold it. Only the requested files in a bundle are downloaded: the contract, its signature,
golden rows, statistics, reports, and the models for the requested back ends.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from policy_core.bundle.bounded_yaml import LARGEST_BYTES
from policy_core.bundle.bundle import CONTRACT_FILE, SET_FILE, hosted_file, stated_hashes
from policy_core.bundle.contract import VERSION
from policy_core.bundle.set_bundle import parse_hosted
from policy_core.bundle.set_contract import HostedContract
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.statements import (
    CHANNEL_NAME,
    CHANNEL_TAG,
    ChannelStatement,
    RevocationStatement,
    kept,
    revoked_versions,
)
from policy_core.bundle.store import REVOKED_TAG
from policy_core.errors import PolicyError
from policy_store.install import require_expected
from policy_store.registry.access import RegistryAccess, RegistryError
from policy_store.registry.client import RegistryRepository
from policy_store.registry.manifest import (
    ALGORITHM,
    BUNDLE_TYPE,
    STATEMENT_TYPE,
    Layer,
    RegistryReference,
    make_digest,
    parse_manifest,
    version_tag,
)
from policy_store.statements import (
    STATEMENT_FILE,
    STATEMENT_SIGNATURE,
    keep,
    require_newer,
    require_valid,
    signed_statement,
)

_LARGEST_SIGNATURE_BYTES = 1 << 12
R = TypeVar("R", ChannelStatement, RevocationStatement)


@dataclass(frozen=True, slots=True, kw_only=True)
class PullRequest:
    """A request to pull a bundle.

    Attributes:
        reference: Location of the bundle.
        channel: Name of the channel that selects the version; "" if the reference selects it.
        backends: Back ends whose models are requested; None for all.
        allow_downgrade: File of the signed statement that allows a version older than the one in
            use; None if there is none.
        expected: Required NAME@VERSION; "" for any.
    """

    reference: RegistryReference
    channel: str = ""
    backends: Collection[str] | None = None
    allow_downgrade: Path | None = None
    expected: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteBundle:
    """A bundle in a registry, whose signature was checked if keys are configured.

    Attributes:
        repository: The bundle's repository.
        digest: Digest of the bundle's manifest.
        contract: The bundle's contract.
        content: Bytes of the contract.
        layers: All layers that the registry offers, by title.
    """

    repository: RegistryRepository
    digest: str
    contract: HostedContract
    content: bytes
    layers: Mapping[str, Layer]

    @property
    def signature_sha256(self) -> str | None:
        """Hash of the signature; None if there is none."""
        layer = self.layers.get(signature_path(Path(hosted_file(self.contract))).name)
        return None if layer is None else layer.digest.removeprefix(ALGORITHM)

    def wanted(self, backends: Collection[str] | None) -> list[Layer]:
        """Return the layers to download: contract, signature, and the files in the contract.

        Args:
            backends: Back ends whose models are requested; None for all.
        """
        file = hosted_file(self.contract)
        wanted = [self.layers[name] for name in (file, f"{file}.sig") if name in self.layers]
        for name, sha256 in stated_hashes(self.contract, backends).items():
            layer = self.layers.get(name)
            if layer is None or layer.digest != ALGORITHM + sha256:
                found = "none" if layer is None else layer.digest
                raise RegistryError(
                    f"{self.repository.reference}: expected a layer {name!r} with sha256:{sha256} "
                    f"(from {file}), found {found}"
                )
            wanted.append(layer)
        return wanted


def remote_statement(repository: RegistryRepository, tag: str) -> tuple[bytes, bytes] | None:
    """Return a statement in a registry and its signature, unchecked; None if not found."""
    manifest = repository.manifest(tag)
    if manifest is None:
        return None
    layers = parse_manifest(manifest, STATEMENT_TYPE, f"{repository.reference.place}:{tag}")
    return (
        _small(repository, layers, STATEMENT_FILE, LARGEST_BYTES),
        _small(repository, layers, STATEMENT_SIGNATURE, _LARGEST_SIGNATURE_BYTES),
    )


def remote_bundle(
    repository: RegistryRepository, asked: str, trusted: TrustedKeys | None
) -> RemoteBundle:
    """Return a bundle in a registry; only its contracts and its signature are downloaded.

    Args:
        repository: The bundle's repository.
        asked: Tag or digest.
        trusted: Keys, one of which must have signed the bundle; None if no signature is required.
    """
    reference = repository.reference
    manifest = repository.manifest(asked)
    if manifest is None:
        raise RegistryError(
            f"{reference.place}: expected {asked}, found nothing; check the name and tag"
        )
    layers = parse_manifest(manifest, BUNDLE_TYPE, f"{reference.place} {asked}")
    file = Path(reference.place, SET_FILE if SET_FILE in layers else CONTRACT_FILE)

    def read(name: str) -> bytes:
        return _small(repository, layers, name, LARGEST_BYTES)

    content, signature = read(file.name), signature_path(file).name
    if trusted is not None:
        signed = signature in layers
        trusted.find_signer(
            file,
            content,
            _small(repository, layers, signature, _LARGEST_SIGNATURE_BYTES) if signed else None,
        )
    contract = parse_hosted(content, file, read)
    if contract.name != reference.name:
        raise RegistryError(
            f"{reference.place}: expected a bundle named like its repository "
            f"({reference.name}), found {contract.name}"
        )
    return RemoteBundle(
        repository=repository,
        digest=make_digest(manifest),
        contract=contract,
        content=content,
        layers=layers,
    )


def find_bundle(
    request: PullRequest, access: RegistryAccess, model: Path | None, trusted: TrustedKeys | None
) -> RemoteBundle:
    """Return the requested bundle, after checking that it is the expected one and not revoked.

    Newer statements are stored in `model`, the folder of the installed versions, unless it is None.
    Without keys, signatures are not checked, and revocations are not pulled.
    """
    reference, repository = request.reference, RegistryRepository(request.reference, access)
    asked = reference.digest or reference.tag
    wanted_version = reference.tag if re.fullmatch(VERSION, reference.tag.replace("_", "+")) else ""
    if request.channel:
        channel = _channel(repository, request.channel, model, trusted)
        asked, wanted_version = channel.digest, channel.version
    if not asked:
        raise PolicyError(
            f"{reference}: expected a version, such as {reference}:1.2.0, a digest, or --channel, "
            "found none"
        )
    revoked = pull_revocations(repository, model, trusted)
    found = remote_bundle(repository, asked, trusted)
    version = found.contract.version
    if wanted_version and version_tag(version) != version_tag(wanted_version):
        raise RegistryError(
            f"{reference}: expected version {wanted_version}, found {version}; the registry has a "
            "different bundle under this tag"
        )
    require_expected(found.contract, request.expected, str(reference))
    if version in revoked:
        raise PolicyError(
            f"{reference}: expected a version that is not revoked, found {version}, "
            f"which is revoked: {revoked[version]}"
        )
    return found


def pull_revocations(
    repository: RegistryRepository, model: Path | None, trusted: TrustedKeys | None
) -> Mapping[str, str]:
    """Return the reason by revoked version, from the registry or, failing that, as last stored.

    A newer statement is stored in `model`, unless that is None. Without keys, none is pulled.
    """
    if trusted is not None:
        found = _accepted(repository, REVOKED_TAG, RevocationStatement, model, trusted)
        if found is not None:
            if model is not None:
                keep(model, *found)
            return found[0].versions
    return {} if model is None else revoked_versions(model)


def _channel(
    repository: RegistryRepository, name: str, model: Path | None, trusted: TrustedKeys | None
) -> ChannelStatement:
    reference = repository.reference
    if trusted is None or reference.tag or reference.digest:
        raise PolicyError(
            "--channel: expected public keys, and a reference without a tag or digest, found "
            f"{reference} and {'keys' if trusted else 'no keys (--public-key)'}"
        )
    if not re.fullmatch(CHANNEL_NAME, name):
        raise PolicyError(f"--channel: expected text that matches {CHANNEL_NAME}, found {name!r}")
    tag = CHANNEL_TAG + name
    found = _accepted(repository, tag, ChannelStatement, model, trusted)
    if found is None or found[0].channel != name:
        shown = "none" if found is None else f"the channel {found[0].channel}"
        raise RegistryError(
            f"{reference}: expected the channel {name}, found {shown}; publish its signed "
            "statement with `model_tools push`"
        )
    channel, content = found
    require_valid(channel.issued, channel.expires, model, f"{reference}:{tag}")
    if model is not None:
        keep(model, channel, content)
    return channel


def _accepted(
    repository: RegistryRepository, tag: str, cls: type[R], model: Path | None, trusted: TrustedKeys
) -> tuple[R, bytes] | None:
    """Return a signed statement at least as new as the last accepted one, and its bytes.

    The result is None if the registry has no such statement.
    """
    remote = remote_statement(repository, tag)
    if remote is None:
        return None
    reference, place = repository.reference, f"{repository.reference.place}:{tag}"
    statement = signed_statement(*remote, place, cls, trusted)
    if statement.name != reference.name:
        raise RegistryError(
            f"{place}: expected a statement about {reference.name}, found {statement.name}"
        )
    if model is not None:
        require_newer(statement, kept(model, tag), place)
    return statement, remote[0]


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
