# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a builder of TensorRT's double is configured with."""

from __future__ import annotations

from typing import Any


class HostMemory:
    """What builders return: a buffer that `bytes` copies, and no `bytes` itself."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self.nbytes = len(content)

    def __bytes__(self) -> bytes:
        return self._content


class Profile:
    def __init__(self) -> None:
        self.shapes: dict[str, tuple[int, ...]] = {}

    def set_shape(self, name: str, low: Any, best: Any, high: Any) -> None:
        assert low == best == high
        self.shapes[name] = tuple(best)


class Config:
    """A builder's configuration."""

    def __init__(self) -> None:
        self.flags: set[int] = {20}
        self.profiles: list[Profile] = []
        self.workspace: int | None = None

    def set_flag(self, flag: int) -> None:
        self.flags.add(flag)

    def clear_flag(self, flag: int) -> None:
        self.flags.discard(flag)

    def set_memory_pool_limit(self, pool: str, size: int) -> None:
        assert pool == "workspace"
        self.workspace = size

    def add_optimization_profile(self, profile: Profile) -> int:
        if any(axis < 1 for shape in profile.shapes.values() for axis in shape):
            return -1
        self.profiles.append(profile)
        return len(self.profiles) - 1
