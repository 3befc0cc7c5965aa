# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Pushes a bundle (one layer per file in its contract) or a signed statement to a registry."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from model_tools.errors import ToolError
from model_tools.ship.sign import require_begun
from policy_core.bundle.bundle import Bundle, stated_hashes
from policy_core.bundle.load import load_bundle
from policy_core.bundle.schema import read_bytes
from policy_core.bundle.signature import TrustedKeys, signature_path
from policy_core.bundle.statements import (
    ChannelStatement,
    DowngradeStatement,
    RevocationStatement,
    parse_statement,
)
from policy_store.registry.access import RegistryAccess, RegistryError
from policy_store.registry.client import Progress, RegistryRepository
from policy_store.registry.connection import Content, joined
from policy_store.registry.manifest import (
    ALGORITHM,
    BUNDLE_TYPE,
    MANIFEST_TYPE,
    STATEMENT_TYPE,
    TITLE,
    Layer,
    RegistryReference,
    make_digest,
    version_tag,
)
from policy_store.registry.remote import remote_bundle, remote_statement
from policy_store.statements import (
    STATEMENT_FILE,
    STATEMENT_SIGNATURE,
    require_newer,
)

_EMPTY_TYPE, _EMPTY = "application/vnd.oci.empty.v1+json", b"{}"
_FILE_TYPE = "application/octet-stream"


class PushRepository(RegistryRepository):
    """A repository that accepts pushes."""

    def push(
        self,
        artifact_type: str,
        layers: Mapping[Layer, Content],
        tag: str,
        progress: Progress,
        *,
        force: bool,
    ) -> str:
        """Upload missing layers, then the manifest; return its digest.

        Args:
            artifact_type: Artifact type of the manifest.
            layers: Layers in order, each with its content.
            tag: Tag of the manifest.
            progress: Called with the number of bytes done, and the total.
            force: Move an existing tag to new content.
        """
        manifest = manifest_bytes(artifact_type, list(layers))
        digest, before = make_digest(manifest), self.manifest(tag)
        if before is not None and make_digest(before) != digest and not force:
            raise RegistryError(
                f"{self._connection.base}{self._at}: expected no tag {tag} yet, or the same "
                f"content, found {make_digest(before)}; give the bundle another version, or "
                "replace it with --force"
            )
        done, total = 0, sum(layer.size_bytes for layer in layers)
        empty = make_layer("", _EMPTY)
        for layer, content in ({empty: _EMPTY} | dict(layers)).items():
            self._retried(partial(self._upload, layer, content))
            done += layer.size_bytes
            progress(done, total)
        headers, url = {"Content-Type": MANIFEST_TYPE}, f"{self._at}/manifests/{tag}"

        def put() -> None:
            with self._connection.request("PUT", url, (201,), headers=headers, body=manifest):
                pass

        self._retried(put)
        return digest

    def _upload(self, layer: Layer, content: Content) -> None:
        with self._connection.request(
            "HEAD", f"{self._at}/blobs/{layer.digest}", (200, 404)
        ) as answer:
            if answer.status == 200:
                return
        with self._connection.request("POST", f"{self._at}/blobs/uploads/", (202,)) as answer:
            place = urlsplit(joined(answer.url, answer.headers.get("Location") or ""))
        query = "&".join(filter(None, (place.query, urlencode({"digest": layer.digest}))))
        headers = {"Content-Type": "application/octet-stream"}
        url = place._replace(query=query).geturl()
        with self._connection.request("PUT", url, (201,), headers=headers, body=content):
            pass


def manifest_bytes(artifact_type: str, layers: Sequence[Layer]) -> bytes:
    """Return a manifest that depends only on its arguments: equal bundles have equal digests."""
    document = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "artifactType": artifact_type,
        "config": {"mediaType": _EMPTY_TYPE, "digest": make_digest(_EMPTY), "size": len(_EMPTY)},
        "layers": [
            {
                "mediaType": _FILE_TYPE,
                "digest": layer.digest,
                "size": layer.size_bytes,
                "annotations": {TITLE: layer.title},
            }
            for layer in layers
        ],
    }
    return json.dumps(document, separators=(",", ":"), ensure_ascii=True).encode()


def make_layer(title: str, content: bytes) -> Layer:
    """Return the layer of a file that is in memory."""
    return Layer(title=title, digest=make_digest(content), size_bytes=len(content))


def bundle_layers(bundle: Bundle) -> dict[Layer, Content]:
    """Return the layers of a bundle: contract, signature, and the files that the contract names.

    Other files of the folder are not pushed, since the signature does not cover them.
    """
    bundle.verify()
    layers: dict[Layer, Content] = {make_layer(bundle.file.name, bundle.content): bundle.content}
    signature = signature_path(bundle.file)
    if signature.is_file():
        content = read_bytes(signature)
        layers[make_layer(signature.name, content)] = content
    for name, sha256 in sorted(stated_hashes(bundle.contract).items()):
        file = bundle.path / name
        size = file.stat().st_size
        layers[Layer(title=name, digest=ALGORITHM + sha256, size_bytes=size)] = file
    return layers


def bundle_digest(bundle: Bundle) -> str:
    """Return the digest that a registry has, or will have, for a bundle in its current state."""
    return make_digest(manifest_bytes(BUNDLE_TYPE, list(bundle_layers(bundle))))


def push_bundle(
    folder: Path,
    reference: RegistryReference,
    access: RegistryAccess,
    progress: Progress,
    trusted: TrustedKeys | None = None,
    *,
    force: bool = False,
) -> tuple[RegistryReference, str, bool]:
    """Upload a bundle.

    Args:
        folder: Folder of the bundle.
        reference: Target; without a tag, the version becomes the tag.
        access: Access to the registry.
        progress: Called with the number of bytes done, and the total.
        trusted: The robots' keys, one of which must have signed the bundle; None skips the check.
        force: Move an existing tag to new content.

    Returns:
        The bundle's reference, its manifest's digest, and whether it is signed.
    """
    bundle = load_bundle(folder, kind=Bundle)
    if trusted is not None:
        trusted.signer(bundle.file, bundle.content, _sign_again(folder))
    name, version = bundle.contract.name, bundle.contract.version
    _require_name(name, reference, folder)
    if reference.digest:
        raise ToolError(
            f"{reference}: expected a repository to push to, with or without a tag, found a digest"
        )
    tag = reference.tag or version_tag(version)
    layers = bundle_layers(bundle)
    digest = PushRepository(reference, access).push(BUNDLE_TYPE, layers, tag, progress, force=force)
    target = RegistryReference(
        host=reference.host,
        repository=reference.repository,
        tag=tag,
        is_secure=reference.is_secure,
    )
    return target, digest, signature_path(bundle.file).is_file()


def push_statement(
    file: Path,
    reference: RegistryReference,
    access: RegistryAccess,
    trusted: TrustedKeys | None = None,
    *,
    again: bool = False,
) -> tuple[str, str]:
    """Upload a signed statement to its bundle's repository; return its tag and digest.

    Args:
        file: The statement; its signature is `FILE.sig` next to it.
        reference: Reference of the bundle.
        access: Access to the registry.
        trusted: The robots' keys, one of which must have signed the file; None skips the check.
        again: Allow removing versions from the list of revoked ones.
    """
    content = read_bytes(file)
    statement = parse_statement(content, file)
    _require_name(statement.name, reference, file)
    if isinstance(statement, DowngradeStatement):
        raise ToolError(
            f"{file}: expected a channel or revocations, found a downgrade, which is not stored in "
            "a registry: copy the file and its signature to the robot (`pull --allow-downgrade`)"
        )
    require_begun(statement, file)
    signature = signature_path(file)
    if not signature.is_file():
        raise ToolError(
            f"{signature}: expected the statement's signature, found nothing; "
            f"`model_tools sign {file} --key private.pem` writes it"
        )
    contents = {STATEMENT_FILE: content, STATEMENT_SIGNATURE: read_bytes(signature)}
    if trusted is not None:
        trusted.find_signer(file, content, contents[STATEMENT_SIGNATURE], _sign_again(file))
    repository = PushRepository(reference, access)
    before = remote_statement(repository, statement.tag)
    if before is not None:
        there = parse_statement(before[0], f"{reference}:{statement.tag}")
        if isinstance(there, DowngradeStatement):
            raise RegistryError(f"{reference}:{statement.tag}: expected {statement.kind}")
        raised = f"write `serial: {there.serial + 1}` and {_sign_again(file)}"
        require_newer(statement, there, str(file), raised)
        if not again:
            _refuse_allowed_again(statement, there, file)
    if isinstance(statement, ChannelStatement):
        _require_version(statement, repository, trusted, file)
    layers: Mapping[Layer, Content] = {make_layer(title, of): of for title, of in contents.items()}
    digest = repository.push(
        STATEMENT_TYPE, layers, statement.tag, lambda done, total: None, force=True
    )
    return statement.tag, digest


def _sign_again(path: Path) -> str:
    return f"sign it again: `model_tools sign {path} --key private.pem --force`"


def _refuse_allowed_again(
    new: ChannelStatement | RevocationStatement,
    before: ChannelStatement | RevocationStatement,
    file: Path,
) -> None:
    """Raise ToolError if a list lacks a version that is revoked now; robots would accept it."""
    if isinstance(new, RevocationStatement) and isinstance(before, RevocationStatement):
        lacking = [version for version in before.versions if version not in new.versions]
        if lacking:
            named = ", ".join(f"{one} ({before.versions[one]})" for one in lacking)
            raise ToolError(
                f"{file}: expected all currently revoked versions, found {named} missing: "
                "robots would accept that version again; add it to the statement and "
                f"{_sign_again(file)}, or allow it again with --again"
            )


def _require_version(
    channel: ChannelStatement,
    repository: RegistryRepository,
    trusted: TrustedKeys | None,
    file: Path,
) -> None:
    version = remote_bundle(repository, channel.digest, trusted).contract.version
    if version != channel.version:
        raise ToolError(
            f"{file}: expected {version} (the version of {channel.digest}), found "
            f"{channel.version}; `model_tools push` prints the digest of each version"
        )


def _require_name(name: str, reference: RegistryReference, place: Path) -> None:
    if reference.name != name:
        raise ToolError(
            f"{reference}: expected a repository path ending in {name} (the name in {place}), "
            f"found {reference.name}"
        )
