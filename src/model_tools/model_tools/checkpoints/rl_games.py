# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""rl_games' `<name>.pth`: `model` with `a2c_network.*` and `running_mean_std.*`.

The network is `actor_mlp.<i>`, then maybe `rnn.rnn` (`a_rnn.rnn` where the critic has its own),
then `mu`. `torch.compile` puts `_orig_mod.` into the names.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from model_tools.checkpoints.plain import only_tensors

NAME = "rl_games"
MODEL, NETWORK, COMPILED = "model", "a2c_network.", "_orig_mod."


def read(content: Mapping[str, object]) -> Mapping[str, Tensor] | None:
    """Return the tensors of the model."""
    model = content.get(MODEL)
    if not isinstance(model, Mapping):
        return None
    named = {str(name).replace(COMPILED, ""): value for name, value in model.items()}
    return only_tensors(named) if any(name.startswith(NETWORK) for name in named) else None
