# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The tensors of a checkpoint, taken one by one, each of the shape that the network needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from model_tools.errors import ToolError
from policy_inference.interfaces import F32, Tensor

PREFIX = "model."
_UNUSED = ("vae_encoder",)
"""Parts that only training needs."""


class Weights:
    """Tensors by their name below `model.`, and which of them were taken."""

    def __init__(self, file: Path, tensors: Mapping[str, Tensor]) -> None:
        """Keep the tensors; `file` is for messages."""
        self._file = file
        self._tensors = {name.removeprefix(PREFIX): array for name, array in tensors.items()
                         if name.startswith(PREFIX)}
        self._taken = set[str]()

    def __contains__(self, name: str) -> bool:
        """Return whether there is such a tensor."""
        return name in self._tensors

    def take(self, name: str, *shape: int) -> F32:
        """Return a tensor.

        Raises:
            ToolError: It is missing, of another shape, or holds NaN or infinite values.
        """
        place, found = f"{self._file}: {PREFIX}{name}", self._tensors.get(name)
        if found is None:
            raise ToolError(f"{place}: expected a tensor {list(shape)}, as config.json says, found "
                            "none; the two files do not belong together, or the file is not whole")
        if found.shape != shape:
            raise ToolError(f"{place}: expected {list(shape)}, as config.json says, found "
                            f"{list(found.shape)}; the two files do not belong together")
        if not np.issubdtype(found.dtype, np.floating):
            raise ToolError(f"{place}: expected floating-point numbers, found {found.dtype}; a "
                            "quantised file is another format, export the training's own")
        if not np.isfinite(found).all():
            raise ToolError(f"{place}: expected finite values, found NaN or infinite ones; the "
                            "training diverged, export an earlier checkpoint")
        self._taken.add(name)
        return np.ascontiguousarray(found, np.float32)

    def wrong(self, name: str, expected: str, found: str) -> ToolError:
        """Return the error that says what a tensor holds instead of `expected`."""
        return ToolError(f"{self._file}: {PREFIX}{name}: expected {expected}, found {found}; the "
                         "file is damaged, or the training diverged")

    def require_all_taken(self) -> None:
        """Check that the network has a place for each tensor.

        Raises:
            ToolError: It has none for some.
        """
        left = list(self._left())
        if left:
            more = f" and {len(left) - 3} more" if len(left) > 3 else ""
            raise ToolError(f"{self._file}: expected the tensors of the network in config.json, "
                            f"found besides {', '.join(left[:3])}{more}; the two files do not "
                            "belong together")

    def _left(self) -> Iterator[str]:
        return (PREFIX + name for name in sorted(self._tensors)
                if name not in self._taken and not name.startswith(_UNUSED))
