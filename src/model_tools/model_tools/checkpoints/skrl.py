# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""skrl's `agent_<step>.pt` and `best_agent.pt`: one state dict for each module of the agent.

The models that skrl makes from a description hold `net_container.<i>`, and `policy_layer` and
`value_layer` where policy and value share a network. Observations are scaled by the module
`observation_preprocessor`; until version 2, which gave that name a second meaning,
`state_preprocessor`.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from model_tools.checkpoints.plain import only_tensors
from model_tools.checkpoints.rsl_rl import part

NAME = "skrl"
POLICY, SCALERS = "policy", ("observation_preprocessor", "state_preprocessor")


def read(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors; each begins with the name of its module."""
    if not isinstance(content.get(POLICY), Mapping):
        return None
    scalers = [name for name in SCALERS if name in content][:1]
    return only_tensors({new: value for name in (POLICY, *scalers)
                         for new, value in part(content, name, name).items()})
