# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import math

import numpy as np
import pytest

from policy_core.bundle.contract import VelocityCommand
from policy_core.guard.bounds import Rule
from policy_core.guard.command import CommandedVector, CommandFader
from policy_core.guard.limits import StricterLimits, limits_in_force
from policy_core.interfaces import F64
from policy_core.observation.freshness import Input
from testkit.kernel.contracts import contract_of, observed

MS = 1_000_000
NOW_NS = 5_000 * MS
WANTED = (0.8, -0.4, 0.6)


@pytest.fixture
def out() -> F64:
    return np.full(3, math.nan)


def fader_of(out: F64 | None, ramp_s: float = 0.5, *, trained: bool = True) -> CommandFader:
    """Return a fader with a time-out of 500 ms."""
    contract = contract_of({"safety.command_ramp_s": ramp_s})
    limits = limits_in_force(contract, StricterLimits())
    return CommandFader(out, contract.velocity_command if trained else None, limits)


@pytest.fixture
def fader(out: F64) -> CommandFader:
    return fader_of(out)


def command_at(fader: CommandFader, out: F64, age_ms: int) -> list[float]:
    fader.update(NOW_NS + age_ms * MS)
    return [float(value) for value in out]


@pytest.mark.parametrize(
    ("age_ms", "share"), [(0, 1), (500, 1), (625, 0.75), (750, 0.5), (1_000, 0), (60_000, 0)]
)
def test_a_command_is_followed_until_its_time_out_and_fades_linearly_to_zero(
    fader: CommandFader, out: F64, age_ms: int, share: float
) -> None:
    assert fader.set(WANTED, NOW_NS)
    np.testing.assert_allclose(command_at(fader, out, age_ms), np.multiply(WANTED, share))


def test_the_begin_of_each_fading_is_reported_once(fader: CommandFader) -> None:
    fader.set(WANTED, NOW_NS)
    began = [bool(fader.update(NOW_NS + age_ms * MS)) for age_ms in (0, 500, 501, 600, 2_000)]
    fader.set(WANTED, NOW_NS + 3_000 * MS)
    began += [bool(fader.update(NOW_NS + age_ms * MS)) for age_ms in (3_000, 3_501, 3_600)]
    assert began == [False, False, True, False, False, False, True, False]


def test_a_new_command_ends_the_fading(fader: CommandFader, out: F64) -> None:
    fader.set(WANTED, NOW_NS)
    command_at(fader, out, 900)
    fader.set((0.1, 0.2, 0.3), NOW_NS + 900 * MS)
    assert command_at(fader, out, 920) == [0.1, 0.2, 0.3]
    assert not fader.fading


@pytest.mark.parametrize(
    ("trained", "wanted", "followed"),
    [
        (True, (0.3, 9.0, -5.0), [0.3, 0.5, -1.0]),
        (True, (5.0, -5.0, 0.1), [1.0, -0.5, 0.1]),
        (False, (5.0, -6.0, 7.0), [5.0, -6.0, 7.0]),
    ],
)
def test_a_command_is_clipped_to_the_trained_range(
    out: F64, trained: bool, wanted: tuple[float, float, float], followed: list[float]
) -> None:
    fader = fader_of(out, trained=trained)
    fader.set(wanted, NOW_NS)
    assert command_at(fader, out, 0) == followed


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_command_that_is_not_finite_is_refused_whole_and_the_last_one_ages(
    fader: CommandFader, out: F64, place: int, value: float
) -> None:
    fader.set(WANTED, NOW_NS)
    broken = [0.1, 0.1, 0.1]
    broken[place] = value
    assert not fader.set((broken[0], broken[1], broken[2]), NOW_NS + 400 * MS)
    assert command_at(fader, out, 450) == list(WANTED)
    assert command_at(fader, out, 1_000) == [0.0, 0.0, 0.0]


def test_before_the_first_command_and_after_a_reset_it_is_zero(
    fader: CommandFader, out: F64
) -> None:
    assert command_at(fader, out, 0) == [0.0, 0.0, 0.0]
    fader.set(WANTED, NOW_NS)
    command_at(fader, out, 0)
    fader.reset()
    assert out.tolist() == [0.0, 0.0, 0.0]
    assert command_at(fader, out, 20) == [0.0, 0.0, 0.0]


def test_a_command_from_before_the_clock_reset_is_dropped(fader: CommandFader, out: F64) -> None:
    fader.set(WANTED, NOW_NS)
    assert fader.update(NOW_NS - 1)
    assert out.tolist() == [0.0, 0.0, 0.0]
    assert command_at(fader, out, 10) == [0.0, 0.0, 0.0]


def test_narrowed_command_is_clipped_to_both_ranges(fader: CommandFader, out: F64) -> None:
    fader.narrow(VelocityCommand(min=(-0.2, -9.0, -0.2), max=(0.3, 9.0, 0.3)))
    fader.set((0.8, -0.7, -0.6), NOW_NS)
    assert command_at(fader, out, 0) == [0.3, -0.5, -0.2]


def test_closed_fader_fades_to_zero_and_takes_nothing_until_it_opens(
    fader: CommandFader, out: F64
) -> None:
    fader.set(WANTED, NOW_NS)
    command_at(fader, out, 0)
    fader.close(NOW_NS)
    assert fader.set((0.1, 0.1, 0.1), NOW_NS)
    assert not fader.update(NOW_NS + 250 * MS)
    np.testing.assert_allclose(out, np.multiply(WANTED, 0.5))
    assert command_at(fader, out, 500) == [0.0, 0.0, 0.0]
    fader.open()
    fader.set(WANTED, NOW_NS + 600 * MS)
    assert command_at(fader, out, 600) == list(WANTED)


def test_closing_makes_no_old_command_younger(fader: CommandFader, out: F64) -> None:
    fader.set(WANTED, NOW_NS)
    np.testing.assert_allclose(command_at(fader, out, 750), np.multiply(WANTED, 0.5))
    fader.close(NOW_NS + 750 * MS)
    np.testing.assert_allclose(command_at(fader, out, 750), np.multiply(WANTED, 0.5))
    assert command_at(fader, out, 1_000) == [0.0, 0.0, 0.0]


POSTURE = [
    {"name": "height", "unit": "m", "min": 0.4, "max": 0.72, "default": 0.7},
    {"name": "lean", "unit": "rad", "min": -0.2, "max": 0.2, "default": 0.0},
]
POSTURE_TERM = {"term": "external", "topic": "posture", "size": 2, "commanded": POSTURE}


class Commanded:
    """Values that are commanded, and the messages that bring them."""

    def __init__(self, **changes: object) -> None:
        contract = observed([{**POSTURE_TERM, **changes}])
        self.source = Input("posture", None)
        self.out = np.full(2, np.nan)
        (term,) = contract.terms
        limits = limits_in_force(contract, StricterLimits())
        self._vector = CommandedVector(term, "external:posture", self.out, self.source, limits)

    def send(self, *values: float, at_ms: int = 0) -> None:
        self.out[:] = values
        self.source.accept(NOW_NS + at_ms * MS)

    def at(self, at_ms: int) -> tuple[list[float], tuple[Rule, ...]]:
        acted = self._vector.update(NOW_NS + at_ms * MS)
        return self.out.round(9).tolist(), acted


def test_commanded_values_are_their_defaults_before_the_first_message() -> None:
    assert Commanded().at(0) == ([0.7, 0.0], ())


def test_commanded_values_are_clipped_and_fade_to_their_defaults() -> None:
    commanded = Commanded()
    commanded.send(0.1, 0.1)
    assert commanded.at(0) == ([0.4, 0.1], ())
    assert commanded.at(500) == ([0.4, 0.1], ())
    assert commanded.at(750) == ([0.55, 0.05], (Rule.STALE_COMMAND,))
    assert commanded.at(1_000) == ([0.7, 0.0], ())
    commanded.send(0.5, -9.0, at_ms=1_100)
    assert commanded.at(1_100) == ([0.5, -0.2], ())


def test_commanded_values_may_have_a_time_out_of_their_own() -> None:
    commanded = Commanded(timeout_s=2.0)
    commanded.send(0.5, 0.1)
    assert commanded.at(1_900) == ([0.5, 0.1], ())
    assert commanded.at(2_250) == ([0.6, 0.05], (Rule.STALE_COMMAND,))


def test_commanded_values_that_are_not_finite_change_nothing() -> None:
    commanded = Commanded()
    commanded.send(0.5, 0.1)
    assert commanded.at(0) == ([0.5, 0.1], ())
    commanded.send(0.6, math.nan, at_ms=100)
    assert commanded.at(100) == ([0.5, 0.1], (Rule.BAD_COMMAND,))
    assert commanded.at(120) == ([0.5, 0.1], ())
