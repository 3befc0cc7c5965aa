# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The artifacts that are compared: pairs of a bundle and a back end, of the same function."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Generic

from model_tools.errors import ToolError
from model_tools.prove.comparison.same_function import check_same_function
from policy_core.bundle.bundle import joint_hash
from policy_core.bundle.contract import Artifact
from policy_inference.backends.registry import OpenedModels, Options, artifacts_for, open_models
from policy_inference.comparison.chunks import coarsest
from policy_inference.kinds.opening import B

RUN_TIMEOUT_S = 60.0
"""Of a single run: simulators of chips take seconds for a large model."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Candidate(Generic[B]):
    """All models of a bundle for a back end.

    Attributes:
        label: What it is called in tables: its precisions, or more where that is not enough.
        bundle: Its bundle.
        backend: The back end that runs it.
        options: Of the back end.
        entries: The contract's entry for each model's file, by the key of the model; for a back
            end that builds from another's artifact, the entry of that one, with the precision
            of what is built.
        size_bytes: Of all files.
        run_timeout_s: After which a run in a process of its own is an error.
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
        """The entry of the first model, which is the only one of a joint policy."""
        return next(iter(self.entries.values()))

    @property
    def precision(self) -> str:
        """The coarsest of its models."""
        return coarsest(self.entries)

    @property
    def sha256(self) -> str:
        """As `policy_core.bundle.bundle.model_sha256` of what it opens."""
        return joint_hash([entry.sha256 for entry in self.entries.values()])

    def opened(self) -> OpenedModels:
        """Open its models, for a `with` that closes them."""
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
        bundles: Of one kind.
        backends: Names of back ends.
        options: Values of their options, by back end.
        run_timeout_s: After which a run in a process of its own is an error.
    """
    found = [
        dataclasses.replace(candidate(bundle, backend, options), run_timeout_s=run_timeout_s)
        for bundle in bundles
        for backend in backends
    ]
    if len(found) < 2:
        raise ToolError(
            "expected two or more artifacts to compare, found one; name a second "
            "bundle, or a second back end with --backend"
        )
    if len({type(bundle) for bundle in bundles}) > 1:
        raise ToolError(
            f"{bundles[0].path}: expected bundles of one kind, found joint policies "
            "and chunk policies"
        )
    for number, other in enumerate(found[1:], 1):
        check_same_function(found[0].bundle, other.bundle)
        _refuse_same_files(other, found[:number])
    if len({one.label for one in found}) == len(found):
        return found
    return [dataclasses.replace(one, label=f"{one.bundle.path} {one.backend}") for one in found]


def candidate(bundle: B, backend: str, options: Options) -> Candidate[B]:
    """Return a bundle's artifacts for a back end."""
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


def _refuse_same_files(other: Candidate[B], before: Sequence[Candidate[B]]) -> None:
    for one in before:
        if (one.backend, one.sha256) == (other.backend, other.sha256):
            raise ToolError(
                f"{other.bundle.path}: expected other artifacts than those of "
                f"{one.bundle.path}, found the same files on the same back end "
                f"({other.backend}), which proves nothing; name another back end "
                "with --backend, or a bundle with another model"
            )
