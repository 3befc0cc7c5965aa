# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifacts that are compared: pairs of a chunk policy's bundle and a back end; on what."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from model_tools.files.observation_sources import open_source
from model_tools.files.rows import fitted
from model_tools.make.act.golden_rows import are_drawn
from model_tools.prove.comparison.candidates import body_meaning, require_same
from policy_inference.backends.base import BackendBase
from policy_inference.backends.registry import Options, artifacts_for, open_graphs
from policy_inference.bundle.bundle import ChunkBundle, joint_hash
from policy_inference.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_ENVIRONMENT,
    GOLDEN_STATE,
    Camera,
    ChunkContract,
    EnvironmentState,
    JointVector,
)
from policy_inference.bundle.contract import Artifact
from policy_inference.comparison.chunk_rows import ChunkRows, golden_chunks
from policy_inference.comparison.chunks import coarsest
from policy_inference.comparison.rows import evenly
from policy_inference.interfaces import Tensor

DRAWN = "golden rows (drawn)"
"""Source of golden rows whose pictures no camera saw."""
MOST_ROWS = 64
"""Of a dataset or recording, evenly spaced: a chunk says much, and takes long."""


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
        raise ToolError(
            "expected two or more artifacts to compare, found one; name a second "
            "bundle, or a second back end with --backends"
        )
    for number, other in enumerate(found[1:], 1):
        require_same(
            found[0].bundle.path,
            dict(_meaning(found[0].bundle)),
            other.bundle.path,
            dict(_meaning(other.bundle)),
        )
        for one in found[:number]:
            if (one.backend, one.sha256) == (other.backend, other.sha256):
                raise ToolError(
                    f"{other.bundle.path}: expected other graphs than those of "
                    f"{one.bundle.path}, found the same files on the same back end "
                    f"({other.backend}), which proves nothing; name another back end "
                    "with --backends, or a bundle with other graphs"
                )
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.bundle.path} {one.backend}") for one in found]


def _candidate(bundle: ChunkBundle, backend: str, options: Options) -> ChunkCandidate:
    opened = artifacts_for(bundle, backend)
    entries = {key: entry for key, (entry, _) in opened.items()}
    return ChunkCandidate(
        label=", ".join(dict.fromkeys(e.precision for e in entries.values())),
        bundle=bundle,
        backend=backend,
        options=options.get(backend, {}),
        entries=entries,
        size_bytes=sum(file.stat().st_size for _, file in opened.values()),
    )


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
        "state": contract.state,
        "environment_state": contract.environment_state,
        "action": contract.action,
    }
    for key, part in parts.items():
        for field in dataclasses.fields(part) if part is not None else ():
            if field.name not in ("encoder", "tensor", "timeout_s"):
                yield f"{key}.{field.name}", getattr(part, field.name)


def chunk_row_sets(
    reference: ChunkBundle, places: Sequence[Path], topics: Mapping[str, str] | None
) -> list[ChunkRows]:
    """Return the reference's golden rows, where it has some, and observations of other places.

    Raises:
        PolicyError: They do not fit the reference.
        OSError: A file cannot be read.
    """
    contract = reference.contract
    golden = [golden_chunks(reference)] if contract.golden else []
    return [
        *(
            replace(rows, source=DRAWN) if are_drawn(contract, rows.observations) else rows
            for rows in golden
        ),
        *(_read(contract, place, topics) for place in places),
    ]


def _read(contract: ChunkContract, place: Path, topics: Mapping[str, str] | None) -> ChunkRows:
    source = open_source(contract, place, topics)
    arrays: dict[str, list[Tensor]] = {}
    for one in source.observations(evenly(source.count, MOST_ROWS).tolist()):
        for name, picture in one.pictures.items():
            arrays.setdefault(f"{GOLDEN_CAMERA}{name}", []).append(
                fitted(contract.cameras[name], picture)
            )
        for key, values in ((GOLDEN_STATE, one.state), (GOLDEN_ENVIRONMENT, one.environment_state)):
            if values is not None:
                arrays.setdefault(key, []).append(values)
    return ChunkRows(
        source=source.name, observations={name: np.stack(each) for name, each in arrays.items()}
    )
