# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Wraps the user's environment or policy, whichever API it has."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import logging
import math
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from model_tools.errors import ToolError
from policy_core.bundle.contract import JointContract
from policy_core.interfaces import F32, F64

_log = logging.getLogger("model_tools")
_OURS = ("model_tools", "importlib")
_ONE_ROBOT = "; make the environment with one robot"


def load_function(name: str) -> Callable[..., object]:
    """Import `module:function` or a class from the current folder or the installed packages.

    The current folder has precedence, as with `python -m`.
    """
    module, _, attribute = name.partition(":")
    if not (_package(name) and attribute):
        raise ToolError(f"expected module:function, found {name!r}")
    if (here := str(Path.cwd())) not in sys.path:
        sys.path.insert(0, here)
    if importlib.util.find_spec(_package(name)) is None:
        raise ToolError(
            f"{name}: expected a module in {here} or an installed package, found none "
            f"called {_package(name)}"
        )
    with calling(name):
        function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise ToolError(
            f"{name}: expected a function named {attribute} in {module}, found "
            f"{'none' if function is None else type(function).__name__}"
        )
    return function  # type: ignore[no-any-return]  # its signature is checked by the call


@contextmanager
def calling(where: str) -> Iterator[None]:
    """Convert errors in the user's code to a one-line ToolError; log the traceback for debugging.

    Args:
        where: Prefix of the line: `module:function`, and the call that follows.
    """
    try:
        yield
    except (Exception, SystemExit) as error:  # the user's code may raise anything
        _log.debug("%s", where, exc_info=True)
        said = " ".join(f"{type(error).__name__}: {error}".split())
        raise ToolError(f"{where}: {said}{_place(error, _package(where))}") from error


def _place(error: BaseException, package: str) -> str:
    """Return the innermost traceback line in `package`, else outside our packages; "" if none."""
    lines = [
        (frame.f_globals.get("__name__", "?"), line)
        for frame, line in traceback.walk_tb(error.__traceback__)
    ]
    foreign = [place for place in lines if _package(place[0]) not in _OURS]
    own = [place for place in foreign if _package(place[0]) == package]
    return "".join(f" ({module}, line {line})" for module, line in (own or foreign)[-1:])


def _package(name: str) -> str:
    return name.partition(":")[0].partition(".")[0]


def vectors(found: object, sizes: Mapping[str, int], where: str) -> dict[str, F64]:
    """Return new vectors [size] by model input; other keys of a mapping are dropped.

    If only one input is observed, the only entry of a mapping may have any name.

    Args:
        found: A mapping by model input, or the array itself if there is only one input.
        sizes: Number of values of each observed model input.
        where: Prefix of messages.
    """
    if len(sizes) == 1:
        if isinstance(found, Mapping) and len(found) == 1:
            [found] = found.values()
        if not isinstance(found, Mapping):
            found = dict.fromkeys(sizes, found)
    if not isinstance(found, Mapping) or not sizes.keys() <= found.keys():
        raise ToolError(
            f"{where}: expected observations keyed by model input ({', '.join(sizes)}), "
            f"found {described(found)}"
        )
    return {name: _vector(found[name], size, f"{where}: {name}") for name, size in sizes.items()}


def one_number(value: object, where: str) -> float:
    """Return a finite number, which may be in a one-element array."""
    array = _numbers(value, where)
    if array.size != 1:
        raise ToolError(f"{where}: expected one value, found {described(array)}{_ONE_ROBOT}")
    return float(array.item())


def described(value: object) -> str:
    if isinstance(value, np.ndarray):
        return f"an array {list(value.shape)}"
    if isinstance(value, Mapping):
        return f"a mapping with {', '.join(map(str, value)) or 'no keys'}"
    return f"a tuple of {len(value)}" if isinstance(value, tuple) else type(value).__name__


def _vector(value: object, size: int, where: str) -> F64:
    array = _numbers(value, where)
    if array.size != size:
        batch = array.ndim > 1 and array.size == size * len(array)
        raise ToolError(
            f"{where}: expected {size} values (the size of the model's input), found "
            f"{described(array)}{_ONE_ROBOT if batch else ''}"
        )
    return array.reshape(-1)


def _numbers(value: object, where: str) -> F64:
    with calling(where):
        array = np.array(value, np.float64)
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0].tolist()
        raise ToolError(
            f"{where}: expected finite values, found {array[tuple(place)]}"
            f"{f' at {place}' if place else ''}"
        )
    return array


Observations = dict[str, F64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentStep:
    """Result of an action: new vectors [size] by model input, reward, end of the episode."""

    observations: Observations
    reward: float
    ended: bool


class UsersEnvironment:
    """An environment with gymnasium's API or gym's old API, recognized by its return values.

    Attributes:
        name: The `module:function` that returned the environment.
    """

    def __init__(self, name: str, environment: Any, sizes: Mapping[str, int]) -> None:
        """Wrap an environment.

        Args:
            name: The `module:function` that returned the environment.
            environment: The environment, which has `reset` and `step`.
            sizes: Number of values of each observed model input.
        """
        lacks = [
            method
            for method in ("reset", "step")
            if not callable(getattr(environment, method, None))
        ]
        if lacks:
            raise ToolError(
                f"{name}: expected an environment with reset and step, found "
                f"{type(environment).__name__} without {' and '.join(lacks)}"
            )
        self.name, self._environment, self._sizes = name, environment, sizes
        self._steps = 0

    def reset(self, seed: int | None = None) -> Observations:
        """Start an episode; return new vectors [size] by model input."""
        found = self._call("reset") if seed is None else self._seeded_reset(seed)
        if isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], Mapping):
            found, _info = found
        return vectors(found, self._sizes, f"{self.name}: reset")

    def step(self, action: F32) -> EnvironmentStep:
        """Take a step with an action [actions], an array that the environment may keep."""
        where = f"{self.name}: step {self._steps}"
        with calling(where):
            found = self._environment.step(action)
        if not isinstance(found, tuple) or len(found) not in (4, 5):
            raise ToolError(
                f"{where}: expected (observation, reward, terminated, truncated, info) "
                f"or (observation, reward, done, info), found {described(found)}"
            )
        self._steps += 1
        observation, reward, *ends, _info = found
        return EnvironmentStep(
            observations=vectors(observation, self._sizes, where),
            reward=one_number(reward, f"{where}: reward"),
            ended=any(one_number(end, f"{where}: end of the episode") for end in ends),
        )

    def close(self) -> None:
        """Close the environment; a failure only causes a warning."""
        if callable(getattr(self._environment, "close", None)):
            try:
                self._call("close")
            except ToolError as error:
                _log.warning("%s", error)

    def _call(self, method: str, *args: object, **named: object) -> object:
        with calling(f"{self.name}: {method}"):
            return getattr(self._environment, method)(*args, **named)

    def _seeded_reset(self, seed: int) -> object:
        takes = inspect.signature(self._environment.reset).parameters
        if "seed" in takes:
            return self._call("reset", seed=seed)
        if callable(getattr(self._environment, "seed", None)):
            self._call("seed", seed)
            return self._call("reset")
        if any(one.kind is inspect.Parameter.VAR_KEYWORD for one in takes.values()):
            return self._call("reset", seed=seed)
        raise ToolError(
            f"{self.name}: expected reset(seed=...) or a seed method, found neither; leave --seed "
            "out"
        )


@contextmanager
def opened(name: str, sizes: Mapping[str, int]) -> Iterator[UsersEnvironment]:
    """Yield the environment that `module:function` returns, and close it at the end."""
    function = load_function(name)
    with calling(name):
        made = function()
    environment = UsersEnvironment(name, made, sizes)
    try:
        yield environment
    finally:
        environment.close()


class UsersPolicy:
    """A user's policy `module:Class`, created with `obs_dim` and `act_dim`; it has `act(obs)`."""

    def __init__(self, name: str, contract: JointContract) -> None:
        """Create the policy.

        Args:
            name: `module:Class`, from the current folder or installed.
            contract: Contract of the bundle, which must observe one input.
        """
        if len(contract.observations) != 1:
            raise ToolError(
                f"{name}: expected a bundle with one observation (act(obs) receives it), "
                f"found {', '.join(contract.observations)}; let the bundle's own model "
                "act"
            )
        [self._input] = contract.observations
        tensors, self._output = contract.model, contract.action.output
        sizes = [
            math.prod(tensor.shape)
            for tensor in (tensors.inputs[self._input], tensors.outputs[self._output])
        ]
        function = load_function(name)
        with calling(name):
            self._policy: Any = function(obs_dim=sizes[0], act_dim=sizes[1])
        if not callable(getattr(self._policy, "act", None)):
            raise ToolError(
                f"{name}: expected a policy with act(obs), found "
                f"{type(self._policy).__name__}, which lacks it"
            )
        self._name, self._size = name, sizes[1]

    def act(self, observations: Observations) -> F32:
        with calling(f"{self._name}: act"):
            found = self._policy.act(observations[self._input].astype(np.float32))
        given = vectors(found, {self._output: self._size}, f"{self._name}: act")
        return given[self._output].astype(np.float32)
