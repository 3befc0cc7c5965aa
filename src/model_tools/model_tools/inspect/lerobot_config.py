# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The `config.json` of a LeRobot checkpoint, as far as every policy has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from model_tools.errors import ToolError
from model_tools.inspect.json_file import read_json
from model_tools.node import Node

CONFIG_FILE = "config.json"
_STATISTICS = {
    "MEAN_STD": ("mean", "std"),
    "MIN_MAX": ("min", "max"),
    "QUANTILES": ("q01", "q99"),
    "QUANTILE10": ("q10", "q90"),
    "IDENTITY": (),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Feature:
    """An input or output of the policy.

    Attributes:
        name: E.g. `observation.images.laptop`.
        kind: STATE, VISUAL, ENV or ACTION.
        shape: Images are channels, height, width.
        mode: How it is normalised.
        is_input: Whether it goes in.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    mode: str
    is_input: bool

    @property
    def statistics(self) -> tuple[str, ...]:
        """Names of the statistics that its mode needs."""
        return _STATISTICS.get(self.mode, ())

    @property
    def statistics_size(self) -> int:
        """Values in each of them: one for each channel, or for each number."""
        return self.shape[0] if self.kind == "VISUAL" else math.prod(self.shape)

    def __str__(self) -> str:
        """Return e.g. `observation.state [6], MEAN_STD`."""
        if self.kind == "VISUAL" and len(self.shape) == 3:
            channels, height, width = self.shape
            size = f"{width} x {height}, {channels} channels"
        else:
            size = str(list(self.shape))
        return f"{self.name} {size}, {self.mode}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The whole file, and its features in their order."""

    root: Node
    features: tuple[Feature, ...]

    def size(self, kind: str) -> int | None:
        """Return the length of the only vector of this kind."""
        found = [f.shape[0] for f in self.features if f.kind == kind and len(f.shape) == 1]
        return found[0] if len(found) == 1 else None


def read_config(folder: Path) -> Config:
    """Read it.

    Raises:
        ToolError: It is no JSON, or none of a policy of 2025 or later.
        OSError: It cannot be read.
    """
    root = read_json(folder / CONFIG_FILE)
    if root.get("input_shapes") is not None:
        raise ToolError(f"{folder / CONFIG_FILE}: expected input_features, found input_shapes, as "
                        "LeRobot wrote them in 2024; convert the checkpoint with LeRobot")
    modes = root.get("normalization_mapping")
    features = tuple(_feature(name, node, modes, key == "input_features")
                     for key in ("input_features", "output_features")
                     for name, node in root[key].items())
    return Config(root=root, features=features)


def _feature(name: str, node: Node, modes: Node | None, is_input: bool) -> Feature:
    kind = node["type"].text()
    mode = modes.get(kind) if modes else None
    shape = tuple(size.whole() for size in node["shape"].elements())
    if not shape:
        raise node["shape"].wrong("a shape with an axis")
    return Feature(name=name, kind=kind, shape=shape, is_input=is_input,
                   mode=mode.text() if mode else "IDENTITY")
