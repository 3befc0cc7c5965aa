# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The list of all kinds of policies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from policy_core.bundle.bundle import Bundle
from policy_core.members.chunk.settings import ChunkSettings
from policy_inference.kinds.chunk import ChunkKind
from policy_inference.kinds.joint import JointKind
from policy_inference.kinds.opening import MemberKind


def member_kinds(
    settings: ChunkSettings | None = None, *, simulated_time: bool = False
) -> tuple[MemberKind[Any], ...]:
    """Return all kinds, one per entry in `CONTRACT_KINDS`; arguments are as for `ChunkKind`."""
    return JointKind(), ChunkKind(settings, simulated_time=simulated_time)


KINDS = member_kinds()
"""All kinds, with default settings."""


def find_kind(bundle: Bundle, kinds: Sequence[MemberKind[Any]] = KINDS) -> MemberKind[Any]:
    return next(kind for kind in kinds if isinstance(bundle, kind.bundle))
