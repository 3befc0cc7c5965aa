# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The observations that artifacts are compared on: golden rows, datasets, recordings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from model_tools.act.rows import are_drawn
from model_tools.chunk_rows.observation import fitted
from model_tools.chunk_rows.sources import open_source
from policy_inference.bundle.chunk_contract import (
    GOLDEN_CAMERA,
    GOLDEN_ENVIRONMENT,
    GOLDEN_STATE,
    ChunkContract,
)
from policy_inference.bundle.load import ChunkBundle
from policy_inference.comparison.chunk_rows import ChunkRows, golden_chunks
from policy_inference.comparison.rows import evenly
from policy_inference.interfaces import Tensor

DRAWN = "golden rows (drawn)"
"""Source of golden rows whose pictures no camera saw."""
MOST_ROWS = 64
"""Of a dataset or recording, evenly spaced: a chunk says much, and takes long."""


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
    return [*(replace(rows, source=DRAWN) if are_drawn(contract, rows.observations) else rows
              for rows in golden), *(_read(contract, place, topics) for place in places)]


def _read(contract: ChunkContract, place: Path, topics: Mapping[str, str] | None) -> ChunkRows:
    source = open_source(contract, place, topics)
    arrays: dict[str, list[Tensor]] = {}
    for one in source.observations(evenly(source.count, MOST_ROWS).tolist()):
        for name, picture in one.pictures.items():
            arrays.setdefault(f"{GOLDEN_CAMERA}{name}", []).append(
                fitted(contract.cameras[name], picture))
        for key, values in ((GOLDEN_STATE, one.state), (GOLDEN_ENVIRONMENT, one.environment_state)):
            if values is not None:
                arrays.setdefault(key, []).append(values)
    return ChunkRows(source=source.name,
                     observations={name: np.stack(each) for name, each in arrays.items()})
