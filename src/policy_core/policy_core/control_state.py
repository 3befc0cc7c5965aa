# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The state of a control path as one value, saved between ticks and restored later or elsewhere.

Each part of the control path lists the attributes that make up its state. All other attributes
follow from the contract, or are written in every tick before they are read.
"""

from __future__ import annotations

import dataclasses
import json
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

Tree = Mapping[str, Any]
"""Maps each name to an array, a number, a string, None, a sequence of these, or another tree."""
_Array = npt.NDArray[Any]
_ARRAY = "array"


class Stateful:
    """A part of the control path with memory between ticks.

    A state attribute may be an array, a number, a string, an enum, None, a `Stateful` part, or a
    sequence or mapping of these.
    """

    __slots__ = ()
    STATE: ClassVar[tuple[str, ...]] = ()
    """Attributes that `restore` replaces."""
    STATE_IN_PLACE: ClassVar[tuple[str, ...]] = ()
    """Arrays of fixed shape that other parts reference; `restore` keeps their addresses."""
    PLAN: ClassVar[tuple[str, ...]] = ()
    """Attributes that follow from the contract and the limits, and configure the native core."""

    def saved(self) -> dict[str, Any]:
        """Return a copy of the state, by attribute name without leading underscore."""
        return self._saved((*self.STATE, *self.STATE_IN_PLACE))

    def _saved(self, names: Sequence[str]) -> dict[str, Any]:
        return {name.lstrip("_"): _copied(getattr(self, name)) for name in names}

    def plan(self) -> dict[str, Any]:
        """Return this part's configuration for the native core, with names as in `saved`."""
        return {name.lstrip("_"): _planned(getattr(self, name)) for name in self.PLAN}

    def restore(self, saved: Tree) -> None:
        """Restore a state saved by a part with the same contract.

        Raises:
            KeyError, TypeError, ValueError: The state belongs to a part with a different structure.
        """
        self._restore(self.STATE, saved)
        for name in self.STATE_IN_PLACE:
            getattr(self, name)[...] = saved[name.lstrip("_")]

    def _restore(self, names: Sequence[str], saved: Tree) -> None:
        for name in names:
            setattr(self, name, _restored(getattr(self, name), saved[name.lstrip("_")]))


_PLAIN = (int, float, bool, str, type(None))


def _copied(value: Any) -> Any:
    # The most common types first: a state is saved between two ticks.
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, Stateful):
        return value.saved()
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, dict):
        return {_key(key): _copied(each) for key, each in value.items()}
    if isinstance(value, tuple | list | deque):
        return tuple([_copied(each) for each in value])
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"expected a value that can be saved, found {type(value).__name__}")


def _planned(value: Any) -> Any:
    if isinstance(value, Stateful):
        return value.plan()
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, tuple | list):
        return [_planned(each) for each in value]
    return value


def _restored(before: Any, saved: Any) -> Any:
    """Return a saved value, converted to the form of `before`, the value that it replaces."""
    if isinstance(before, Stateful):
        before.restore(saved)
        return before
    if isinstance(before, Mapping):
        found = {key: _restored(each, saved[_key(key)]) for key, each in before.items()}
        return before if all(found[key] is each for key, each in before.items()) else found
    if isinstance(before, Sequence) and any(isinstance(each, Stateful) for each in before):
        for part, each in zip(before, saved, strict=True):
            part.restore(each)
        return before
    if isinstance(before, deque):
        return deque(_copied(saved), maxlen=before.maxlen)
    if isinstance(before, list):
        return list(_copied(saved))
    if isinstance(before, Enum):
        return type(before)(saved)
    return _copied(saved)


def _key(key: Any) -> str:
    return str(key.value) if isinstance(key, Enum) else str(key)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ControlState:
    """Full state of a controller, its motions, its inputs and its policy.

    Attributes:
        tree: The saved state of each part.
    """

    tree: Tree

    def encoded(self) -> tuple[str, list[_Array]]:
        """Return the state as JSON, and the arrays that the JSON refers to by index."""
        arrays = list[_Array]()

        def encode(value: Any) -> Any:
            if isinstance(value, np.ndarray):
                arrays.append(value)
                return {_ARRAY: len(arrays) - 1}
            if isinstance(value, Mapping):
                return {key: encode(each) for key, each in value.items()}
            if isinstance(value, tuple):
                return [encode(each) for each in value]
            return value

        return json.dumps(encode(self.tree), separators=(",", ":")), arrays

    @staticmethod
    def decoded(text: str, arrays: Sequence[_Array]) -> ControlState:
        """Decode an encoded state.

        Raises:
            ValueError: The text is not JSON, or refers to a missing array.
        """

        def decode(value: Any) -> Any:
            if isinstance(value, dict) and value.keys() == {_ARRAY}:
                place = value[_ARRAY]
                if not isinstance(place, int) or not 0 <= place < len(arrays):
                    raise ValueError(f"expected one of {len(arrays)} arrays, found {place!r}")
                return arrays[place]
            if isinstance(value, dict):
                return {key: decode(each) for key, each in value.items()}
            if isinstance(value, list):
                return tuple(decode(each) for each in value)
            return value

        return ControlState(tree=decode(json.loads(text)))
