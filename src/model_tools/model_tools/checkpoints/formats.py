# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The layouts of checkpoints that are known, told apart by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from torch import Tensor

from model_tools.checkpoints import plain, rl_games, rsl_rl, skrl
from model_tools.errors import ToolError


class Format(Protocol):
    """A module that knows one layout."""

    NAME: str

    def read(self, content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
        """Return the policy's tensors by name, or None for another layout."""


FORMATS: tuple[Format, ...] = (rsl_rl, skrl, rl_games, plain)


def read_tensors(path: Path, content: object) -> tuple[str, Mapping[str, Tensor]]:
    """Return the name of the layout, and the policy's tensors with its normaliser's.

    Raises:
        ToolError: The layout is not known.
    """
    keys = content if isinstance(content, Mapping) else {}
    for layout in FORMATS:
        tensors = layout.read(keys)
        if tensors:
            return layout.NAME, tensors
    known = ", ".join(layout.NAME for layout in FORMATS)
    found = ", ".join(map(str, list(keys)[:10])) or type(content).__name__
    raise ToolError(f"{path}: expected a checkpoint of {known}, found {found}; save the "
                    "state_dict of the policy with torch.save")
