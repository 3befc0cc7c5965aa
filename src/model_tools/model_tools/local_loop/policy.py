# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A policy of the user, which acts in the place of the bundle's model."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from model_tools.local_loop.environment import Observations
from model_tools.local_loop.returned import vectors
from model_tools.local_loop.users_code import calling, load_function
from policy_inference.bundle.contract import JointContract
from policy_inference.interfaces import F32


class UsersPolicy:
    """What `module:Class` makes with `obs_dim` and `act_dim`; its `act(obs)` gives an action."""

    def __init__(self, name: str, contract: JointContract) -> None:
        """Make it.

        Args:
            name: `module:Class`, from the current folder or installed.
            contract: Of the bundle, which must observe one input.

        Raises:
            ToolError: There is no such class, it fails, or it has no `act`; or the bundle observes
                several inputs, of which `act` could not be given one.
        """
        if len(contract.observations) != 1:
            raise ToolError(f"{name}: expected a bundle with one observation, which act(obs) gets, "
                            f"found {', '.join(contract.observations)}; let the bundle's own model "
                            "act")
        [self._input] = contract.observations
        tensors, self._output = contract.model, contract.action.output
        sizes = [math.prod(tensor.shape) for tensor in (tensors.inputs[self._input],
                                                        tensors.outputs[self._output])]
        function = load_function(name)
        with calling(name):
            self._policy: Any = function(obs_dim=sizes[0], act_dim=sizes[1])
        if not callable(getattr(self._policy, "act", None)):
            raise ToolError(f"{name}: expected a policy with act(obs), found "
                            f"{type(self._policy).__name__} without")
        self._name, self._size = name, sizes[1]

    def act(self, observations: Observations) -> F32:
        """Return its action [actions] for what the environment showed.

        Raises:
            ToolError: It fails, or gives something else than finite numbers, one per action.
        """
        with calling(f"{self._name}: act"):
            found = self._policy.act(observations[self._input].astype(np.float32))
        given = vectors(found, {self._output: self._size}, f"{self._name}: act")
        return given[self._output].astype(np.float32)
