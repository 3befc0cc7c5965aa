# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifacts to compare: pairs of bundle and back end, all with the same function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

import numpy as np
import numpy.typing as npt

from model_tools.errors import ToolError
from model_tools.prove.comparison.same_function import check_same_function
from policy_core.bundle.bundle import joint_hash
from policy_core.bundle.contract import Artifact
from policy_core.interfaces import Tensor
from policy_inference.backends.registry import OpenedModels, Options, artifacts_for, open_models
from policy_inference.comparison.chunks import coarsest
from policy_inference.comparison.limits import Check
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.rows import Rows
from policy_inference.kinds.opening import B

RUN_TIMEOUT_S = 60.0
"""Time limit of a single run: chip simulators take seconds for a large model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate(Generic[B]):
    """All models of a bundle for a back end.

    Attributes:
        label: Name in tables: the models' precisions, with more detail if needed.
        bundle: The bundle.
        backend: The back end that runs the models.
        options: Options of the back end.
        entries: The contract's entry for each model's file, by the key of the model; if the back
            end builds its model from another back end's artifact, that artifact's entry, with the
            precision of the built model.
        size_bytes: Size of all files.
        run_timeout_s: Time limit of a run in a separate process.
    """

    label: str
    bundle: B
    backend: str
    options: Mapping[str, str]
    entries: Mapping[str, Artifact]
    size_bytes: int
    run_timeout_s: float = RUN_TIMEOUT_S

    @property
    def entry(self) -> Artifact:
        return next(iter(self.entries.values()))

    @property
    def precision(self) -> str:
        return coarsest(self.entries)

    @property
    def sha256(self) -> str:
        """Hash of the opened models; see `policy_core.bundle.bundle.model_sha256`."""
        return joint_hash([entry.sha256 for entry in self.entries.values()])

    def opened(self) -> OpenedModels:
        return open_models(
            self.bundle.models,
            [self.backend],
            {self.backend: self.options},
            run_timeout_s=self.run_timeout_s,
        )


def candidates(
    bundles: Sequence[B],
    backends: Sequence[str],
    options: Options,
    run_timeout_s: float = RUN_TIMEOUT_S,
) -> list[Candidate[B]]:
    """Return each bundle's artifacts for these back ends; the first is the reference.

    Args:
        bundles: Bundles of one kind.
        backends: Names of back ends.
        options: Option values by back end.
        run_timeout_s: Time limit of a run in a separate process.
    """
    found = [
        dataclasses.replace(candidate(bundle, backend, options), run_timeout_s=run_timeout_s)
        for bundle in bundles
        for backend in backends
    ]
    if len(found) < 2:
        raise ToolError(
            "expected two or more artifacts to compare, found one; add a second bundle, or a "
            "second back end with --backend"
        )
    if len({type(bundle) for bundle in bundles}) > 1:
        raise ToolError(
            f"{bundles[0].path}: expected bundles of one kind, found joint policies "
            "and chunk policies"
        )
    for number, other in enumerate(found[1:], 1):
        check_same_function(found[0].bundle, other.bundle)
        for one in found[:number]:
            if (one.backend, one.sha256) == (other.backend, other.sha256):
                raise ToolError(
                    f"{other.bundle.path}: expected artifacts that differ from those of "
                    f"{one.bundle.path}, found the same files on the same back end "
                    f"({other.backend}), which proves nothing; choose another back end "
                    "with --backend, or a bundle with another model"
                )
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.bundle.path} {one.backend}") for one in found]


def candidate(bundle: B, backend: str, options: Options) -> Candidate[B]:
    opened = artifacts_for(bundle, backend)
    entries = {key: entry for key, (entry, _) in opened.items()}
    return Candidate(
        label=", ".join(dict.fromkeys(entry.precision for entry in entries.values())),
        bundle=bundle,
        backend=backend,
        options=options.get(backend, {}),
        entries=entries,
        size_bytes=sum(file.stat().st_size for _, file in opened.values()),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OnRows:
    """Comparison of an artifact on one set of rows.

    Attributes:
        source: Source of the rows.
        count: Number of judged rows.
        left_out: Number of rows left out because an artifact was calibrated with them.
        differences: Differences by output; outputs that command joints come first. For a chunk
            policy: normalized chunks, the same in rad, then each camera's encoder against the
            reference's.
        checks: All values that have limits; empty if not judged.
        judged: True if the rows are judged. Random images are not a fair test of an 8-bit graph,
            whose ranges come from recorded ones; if there are recorded rows, only these count.
    """

    source: str
    count: int
    left_out: int = 0
    differences: tuple[Difference, ...]
    checks: tuple[Check, ...]
    judged: bool = True

    @property
    def action(self) -> Difference:
        return self.differences[0]

    @property
    def title(self) -> str:
        """Source of the rows, and the number left out."""
        held = (
            f", {self.count} of {self.count + self.left_out} rows, not used for calibration"
            if self.left_out
            else ""
        )
        return f"{self.source}{held}"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RowSet:
    """Rows of one source, all of which are played, and the indices of the judged ones."""

    rows: Rows
    judged: npt.NDArray[np.int64]

    @staticmethod
    def whole(rows: Rows) -> RowSet:
        return RowSet(rows=rows, judged=np.arange(len(rows)))

    @property
    def left_out(self) -> int:
        return len(self.rows) - len(self.judged)

    def of(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {name: array[self.judged] for name, array in tensors.items()}
