# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of no known layout is refused with what it holds."""

import pytest
import torch

from model_tools.errors import ToolError

from .exporting import Exporter
from .layouts import CONFIG


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"weights": {"actor.0.weight": torch.ones(2, 2)}, "step": 3}, "found weights, step"),
        ({"state_dict": {"actor.0.weight": torch.ones(2, 2), "lr": 0.1}}, "found state_dict"),
        ({"model": {"actor.0.weight": torch.ones(2, 2)}}, "found model"),
        ([torch.ones(2, 2)], "found list"),
        ({}, "found dict"),
    ],
)
def test_an_unknown_layout_lists_the_known_ones(
    export: Exporter, content: object, found: str
) -> None:
    with pytest.raises(ToolError, match=f"rsl_rl, skrl, rl_games, state dict, {found}"):
        export(content, CONFIG)


@pytest.mark.parametrize("missing", ["hidden_sizes", "activation"])
def test_what_a_checkpoint_does_not_hold_is_asked_for(export: Exporter, missing: str) -> None:
    config = {key: value for key, value in CONFIG.items() if key != missing}
    with pytest.raises(ToolError, match=f"{missing}: expected in the configuration"):
        export({"actor.0.weight": torch.ones(2, 2)}, config)
