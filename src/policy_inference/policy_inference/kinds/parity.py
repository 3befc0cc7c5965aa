# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Verify on golden rows that models compute the same function here as where they were built."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from policy_core.bundle.bundle import Bundle
from policy_core.bundle.set_bundle import SetBundle
from policy_core.errors import BackendError
from policy_core.guard.limits import Limits, StricterLimits, limits_in_force
from policy_core.interfaces import Backend
from policy_inference.backends.registry import OpenedModels, artifacts_for
from policy_inference.comparison.open_loop import Difference
from policy_inference.comparison.rows import Rows
from policy_inference.kinds.opening import (
    NATIVE,
    B,
    MemberKind,
    OpenedPolicy,
    OpenRequest,
    open_bundle,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parity:
    """A policy's result on its golden rows.

    Attributes:
        rows: The rows.
        differences: One difference per output; joint commands come first.
        after_runs: Number of earlier runs of the policy.
        source: Description of the rows and of when they were run, used in messages.
    """

    rows: Rows
    differences: tuple[Difference, ...]
    after_runs: int
    source: str


def parity(
    kind: MemberKind[B],
    bundle: B,
    models: Mapping[str, Backend],
    rows: Rows,
    after_runs: int = 0,
) -> Parity:
    """Run all golden rows, and compare the computed outputs with the recorded ones.

    Args:
        kind: The policy's kind.
        bundle: The policy's bundle.
        models: Opened models, by contract key; their arrays are overwritten.
        rows: The golden rows of the bundle.
        after_runs: Number of earlier runs of the policy.
    """
    return Parity(
        rows=rows,
        differences=kind.differences(bundle, kind.play(bundle, models, rows), rows.outputs),
        after_runs=after_runs,
        source=rows.source + (f" after {after_runs} {kind.runs}" if after_runs else ""),
    )


def open_with_parity(
    kind: MemberKind[B],
    request: OpenRequest,
    bundle: B,
    limits: Limits,
    clock: Callable[[], int],
) -> OpenedPolicy[B]:
    """Open a policy (see `PolicyKind.open_proven`); checks that need no device come first."""
    rows = kind.golden_rows(bundle)
    kind.require_enough(bundle, rows)
    opened = open_bundle(kind, request, request.backend_options, bundle, limits, clock)
    try:
        require_parity(kind, bundle, opened.models, rows)
    except BaseException:
        opened.close()
        raise
    return opened


def require_parity(kind: MemberKind[B], bundle: B, models: OpenedModels, rows: Rows) -> None:
    """Raise an error unless opened models reproduce the bundle's golden rows here.

    Args:
        kind: The policy's kind.
        bundle: The bundle, for its limits.
        models: Opened models; their arrays are overwritten.
        rows: The golden rows of the bundle.
    """
    kind.require_enough(bundle, rows)
    opened = artifacts_for(bundle, models.name)
    entries = {key: entry for key, (entry, _) in opened.items()}
    found = parity(kind, bundle, models, rows)
    checks = kind.checks(bundle, models.name, entries, found.differences, found.source)
    place = next(file for _, file in opened.values()) if len(opened) == 1 else bundle.path
    if failed := [check for check in checks if not check]:
        raise BackendError(
            *(
                f"{place}: on {models.name}: {check}; on this machine, the model's outputs "
                "differ from the golden rows: make the model files or the golden rows again"
                for check in failed
            )
        )


def check_opening(bundle: Bundle, backend: str, options: Mapping[str, str] | None = None) -> None:
    """Open a bundle exactly as a node with default parameters does, then close it.

    Args:
        bundle: A policy or a set.
        backend: Name of the back end.
        options: Options for the back end.

    Raises:
        PolicyError: The bundle cannot be opened.
    """
    from policy_inference.kinds.kinds import find_kind
    from policy_inference.kinds.policy_set import SetKind

    request = OpenRequest(
        bundle=str(bundle.path),
        public_key="",
        backends=[backend],
        options={backend: options or {}},
        stricter_limits=StricterLimits(),
        output="joint_command",
        loop=NATIVE,
    )
    limits = limits_in_force(bundle.contract, request.limits)
    kind = SetKind() if isinstance(bundle, SetBundle) else find_kind(bundle)
    open_bundle(kind, request, request.options, bundle, limits, time.monotonic_ns).close()
