# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifacts that are compared: pairs of a chunk policy's bundle and a back end."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from model_tools.comparison.same_function import body_meaning, require_same
from model_tools.errors import ToolError
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import Options, artifacts_for, open_graphs
from policy_inference.bundle.chunk_contract import Camera, EnvironmentState, JointVector
from policy_inference.bundle.contract import Artifact
from policy_inference.bundle.load import ChunkBundle, joint_hash
from policy_inference.comparison.chunks import coarsest


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChunkCandidate:
    """All graphs of a bundle for a back end.

    Attributes:
        label: What it is called in tables.
        bundle: Its bundle.
        backend: The back end that runs it.
        options: Of the back end.
        entries: What the contract says of each graph's file, by `graphs.NAME`.
        size_bytes: Of all files.
    """

    label: str
    bundle: ChunkBundle
    backend: str
    options: Mapping[str, str]
    entries: Mapping[str, Artifact]
    size_bytes: int

    @property
    def precision(self) -> str:
        """The coarsest of its graphs."""
        return coarsest(self.entries)

    @property
    def sha256(self) -> str:
        """As `policy_inference.bundle.load.model_sha256` of what it opens."""
        return joint_hash([entry.sha256 for entry in self.entries.values()])

    @contextmanager
    def opened(self) -> Iterator[Mapping[str, BackendBase]]:
        """Open all graphs, and close them at the end.

        Raises:
            BackendError: One does not open.
        """
        backends, _ = open_graphs(self.bundle, [self.backend], {self.backend: self.options})
        try:
            yield backends
        finally:
            for backend in backends.values():
                backend.close()


def chunk_candidates(
    bundles: Sequence[ChunkBundle], backends: Sequence[str], options: Options
) -> list[ChunkCandidate]:
    """Return each bundle's artifacts for these back ends; the first is the reference.

    Raises:
        BundleError, BackendError: A bundle lacks an artifact.
        ToolError: There are fewer than two, they are not the same function, or two are the same
            files on the same back end.
    """
    found = [_candidate(bundle, backend, options) for bundle in bundles for backend in backends]
    if len(found) < 2:
        raise ToolError("expected two or more artifacts to compare, found one; name a second "
                        "bundle, or a second back end with --backends")
    for number, other in enumerate(found[1:], 1):
        require_same(found[0].bundle.path, dict(_meaning(found[0].bundle)),
                     other.bundle.path, dict(_meaning(other.bundle)))
        for one in found[:number]:
            if (one.backend, one.sha256) == (other.backend, other.sha256):
                raise ToolError(f"{other.bundle.path}: expected other graphs than those of "
                                f"{one.bundle.path}, found the same files on the same back end "
                                f"({other.backend}), which proves nothing; name another back end "
                                "with --backends, or a bundle with other graphs")
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.bundle.path} {one.backend}") for one in found]


def _candidate(bundle: ChunkBundle, backend: str, options: Options) -> ChunkCandidate:
    opened = artifacts_for(bundle, backend)
    entries = {key: entry for key, (entry, _) in opened.items()}
    return ChunkCandidate(label=", ".join(dict.fromkeys(e.precision for e in entries.values())),
                          bundle=bundle, backend=backend, options=options.get(backend, {}),
                          entries=entries,
                          size_bytes=sum(file.stat().st_size for _, file in opened.values()))


def _meaning(bundle: ChunkBundle) -> Iterator[tuple[str, object]]:
    """Yield what changes behaviour, by key; how the graphs are cut and named does not."""
    contract = bundle.contract
    yield from body_meaning(contract)
    yield "chunk.size", contract.chunk.size
    for joint, unit in contract.units.items():
        yield f"units.{joint}", unit
    yield "cameras", tuple(contract.cameras)
    parts: dict[str, Camera | JointVector | EnvironmentState | None] = {
        **{f"cameras.{name}": camera for name, camera in contract.cameras.items()},
        "state": contract.state, "environment_state": contract.environment_state,
        "action": contract.action}
    for key, part in parts.items():
        for field in dataclasses.fields(part) if part is not None else ():
            if field.name not in ("encoder", "tensor", "timeout_s"):
                yield f"{key}.{field.name}", getattr(part, field.name)
