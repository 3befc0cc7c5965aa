# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Keys move the values that a policy takes besides the velocity, within their limits."""

from __future__ import annotations

import pytest

from policy_core.bundle.contract import CommandedValue
from robot_operator.sliders import LOWER, NEXT, RAISE, Sliders

HEIGHT = CommandedValue(name="height", unit="m", min=0.4, max=0.8, default=0.7)
GAIT = CommandedValue(name="gait", min=0.0, max=1.0, default=0.0)
PITCH = CommandedValue(name="pitch", unit="rad", min=-0.2, max=0.2, default=0.0)


def press(sliders: Sliders, *keys: str) -> None:
    for key in keys:
        sliders.press(key)


def test_nothing_is_commanded_before_a_key_moves_a_value() -> None:
    sliders = Sliders({"commanded_values": (HEIGHT,)})
    press(sliders, NEXT, "up", "space", "w")
    assert not sliders.commanded
    press(sliders, LOWER)
    (values,) = sliders.commanded.values()
    assert [*values] == pytest.approx([0.68])


def test_a_topic_is_commanded_as_a_whole_and_others_not_at_all() -> None:
    sliders = Sliders({"body": (HEIGHT, PITCH), "gait": (GAIT,)})
    press(sliders, NEXT, RAISE)
    assert [*sliders.commanded] == ["body"]
    assert [*sliders.commanded["body"]] == pytest.approx([0.7, 0.02])
    press(sliders, "N", RAISE, RAISE)
    assert [*sliders.commanded["gait"]] == pytest.approx([0.1])
    press(sliders, NEXT)
    assert [text[0] for _, text in sliders.lines] == [">", " ", " "]


def test_values_stay_within_their_limits() -> None:
    sliders = Sliders({"commanded_values": (HEIGHT,)})
    press(sliders, *30 * [RAISE])
    assert sliders.commanded["commanded_values"] == [0.8]
    press(sliders, *30 * [LOWER])
    assert sliders.commanded["commanded_values"] == [0.4]


def test_after_a_reset_the_defaults_are_back_and_nothing_is_commanded() -> None:
    sliders = Sliders({"commanded_values": (HEIGHT,)})
    before = sliders.lines
    press(sliders, LOWER)
    assert sliders.lines != before
    sliders.reset()
    assert sliders.lines == before
    assert not sliders.commanded


def test_without_values_no_key_does_anything() -> None:
    sliders = Sliders({})
    press(sliders, NEXT, RAISE)
    assert not sliders.commanded
    assert not sliders.lines
