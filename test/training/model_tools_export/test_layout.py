# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A checkpoint of no known layout is refused with what it holds."""

import pytest
import torch

from model_tools.errors import ToolError
from testkit.wording import refusal

from .exporting import Exporter
from .layouts import CONFIG


@pytest.mark.parametrize(
    "content",
    [
        {"weights": {"actor.0.weight": torch.ones(2, 2)}, "step": 3},
        {"state_dict": {"actor.0.weight": torch.ones(2, 2), "lr": 0.1}},
        {"model": {"actor.0.weight": torch.ones(2, 2)}},
        [torch.ones(2, 2)],
        {},
    ],
)
def test_an_unknown_layout_lists_the_known_ones(export: Exporter, content: object) -> None:
    with refusal(ToolError):
        export(content, CONFIG)


@pytest.mark.parametrize("missing", ["hidden_sizes", "activation"])
def test_what_a_checkpoint_does_not_hold_is_asked_for(export: Exporter, missing: str) -> None:
    config = {key: value for key, value in CONFIG.items() if key != missing}
    with refusal(ToolError):
        export({"actor.0.weight": torch.ones(2, 2)}, config)
