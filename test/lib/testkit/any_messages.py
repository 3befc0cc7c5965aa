# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Any message of a type, for tests with Hypothesis: any number, text, and length of each list."""

from __future__ import annotations

import math
import re
from importlib import import_module
from typing import Any

from hypothesis import strategies as st
from policy_msgs.msg import PolicyStatus, RobotStatus, SetStatus, ShadowStatus, TrialStatus

_ARRAY = re.compile(r"(?P<kind>[^\[]+)\[(?P<size>\d+)\]")
_SEQUENCE = re.compile(r"sequence<(?P<kind>[^,>]+)(, *\d+)?>")
_FLOATS = st.one_of(
    st.sampled_from((0.0, 1.0, -1.0, math.nan, math.inf, -math.inf, 1e300)), st.floats(width=32)
)
_TEXTS = st.one_of(
    st.sampled_from(("", "walk", "\x1b[2J", "a\nb", "/tmp/\x00", "[bold]", "\u202e")),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
)
_MOST = 4
"""Largest number of entries in a list."""


def any_message(kind: type[Any], **fields: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy for messages of a ROS type.

    Args:
        kind: The type.
        fields: Strategies for fields that shall not have any value.
    """
    strategies = {
        name: fields[name] if name in fields else _any_value(type_name)
        for name, type_name in kind.get_fields_and_field_types().items()
    }
    return st.builds(kind, **strategies)


def _any_value(type_name: str) -> st.SearchStrategy[Any]:
    if match := _ARRAY.fullmatch(type_name):
        size = int(match["size"])
        return st.lists(_any_value(match["kind"]), min_size=size, max_size=size)
    if match := _SEQUENCE.fullmatch(type_name):
        return st.lists(_any_value(match["kind"]), max_size=_MOST)
    if type_name.startswith("string"):
        return _TEXTS
    if type_name in ("double", "float"):
        return _FLOATS
    if type_name == "boolean":
        return st.booleans()
    if type_name in ("octet", "byte"):
        return st.binary(min_size=1, max_size=1)
    if match := re.fullmatch(r"(u?)int(\d+)", type_name):
        bits = int(match[2])
        low, high = (0, 2**bits) if match[1] else (-(2 ** (bits - 1)), 2 ** (bits - 1))
        return st.one_of(st.integers(0, min(7, high - 1)), st.integers(low, high - 1))
    package, _, name = type_name.partition("/")
    return any_message(getattr(import_module(f"{package}.msg"), name))


def any_policy_status() -> st.SearchStrategy[Any]:
    """Return a strategy for PolicyStatus messages, of which about half follow their definition."""
    names, numbers = st.just(["hip", "knee"]), st.lists(_FLOATS, min_size=2, max_size=2)
    lists = ("mean", "rms", "max", "mean_steps", "rms_steps", "max_steps")
    shadow = any_message(ShadowStatus, joints=names, **dict.fromkeys(lists, numbers))
    state = st.sampled_from(("walk", "crouch"))
    policy_set = any_message(SetStatus, state=state, states=st.just(["walk", "crouch"]))
    defined = any_message(
        PolicyStatus,
        mode=st.integers(0, 6),
        success=st.integers(0, 2),
        authority=st.floats(0.0, 1.0),
        shadow=st.lists(shadow, max_size=1),
        trial=st.lists(any_message(TrialStatus), max_size=1),
        policy_set=st.lists(policy_set, max_size=1),
    )
    return st.one_of(defined, any_message(PolicyStatus))


def any_robot_status() -> st.SearchStrategy[Any]:
    """Return a strategy for RobotStatus messages, of which about half follow their definition."""
    names, numbers = st.just(["hip", "knee"]), st.lists(_FLOATS, min_size=2, max_size=2)
    fields = {"joint_names": names, "temperature_c": numbers, "state": st.integers(0, 4)}
    return st.one_of(any_message(RobotStatus, **fields), any_message(RobotStatus))
