# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
import math

import pytest

from policy_core.errors import PolicyError
from policy_core.guard.limits import StricterLimits, input_timeouts_ns, limits_in_force
from testkit.kernel.contracts import contract_of
from testkit.wire_messages import DEPTH
from testkit.wording import refusal

MS = 1_000_000


def test_limits_are_the_contract_s_where_nothing_is_tightened() -> None:
    limits = limits_in_force(contract_of(), StricterLimits())
    assert limits.max_tilt_rad == 1.0
    assert limits.state_timeout_ns == 40 * MS  # two periods
    assert limits.damp_after_ns == 100 * MS
    assert limits.command_timeout_ns == 500 * MS
    assert limits.command_ramp_ns == 500 * MS
    assert limits.blend_ns == 200 * MS
    assert (limits.margin, limits.effort_scale) == (1.5, 1.0)
    stated = contract_of({"safety": {"on_fault": "damp", "state_timeout_s": 0.3}})
    limits = limits_in_force(stated, StricterLimits())
    assert (limits.max_tilt_rad, limits.state_timeout_ns) == (None, 300 * MS)
    assert limits_in_force(stated, StricterLimits(max_tilt_rad=0.5)).max_tilt_rad == 0.5


def test_every_limit_may_be_tightened() -> None:
    stricter_limits = StricterLimits(
        max_tilt_rad=0.5,
        state_timeout_s=0.03,
        damp_after_s=0.05,
        command_timeout_s=0.2,
        margin=1.2,
        effort_scale=0.4,
    )
    limits = limits_in_force(contract_of(), stricter_limits)
    assert limits.max_tilt_rad == 0.5
    assert limits.state_timeout_ns == 30 * MS
    assert limits.damp_after_ns == 50 * MS
    assert limits.command_timeout_ns == 200 * MS
    assert (limits.margin, limits.effort_scale) == (1.2, 0.4)


def test_a_limit_as_the_contract_has_it_is_accepted() -> None:
    same = StricterLimits(max_tilt_rad=1.0, margin=1.5, effort_scale=1.0)
    assert limits_in_force(contract_of(), same) == limits_in_force(contract_of(), StricterLimits())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_tilt_rad", 1.01),
        ("state_timeout_s", 0.041),
        ("damp_after_s", 0.11),
        ("command_timeout_s", 0.6),
        ("margin", 1.6),
        ("effort_scale", 1.1),
    ],
)
def test_loosening_is_refused_by_name(name: str, value: float) -> None:
    with refusal(PolicyError):
        limits_in_force(contract_of(), StricterLimits(**{name: value}))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_values_that_are_no_limit_are_refused(value: float) -> None:
    with refusal(PolicyError):
        limits_in_force(contract_of(), StricterLimits(effort_scale=value))


def test_all_loosened_limits_are_named_at_once() -> None:
    with refusal(PolicyError) as caught:
        limits_in_force(
            contract_of(), StricterLimits(max_tilt_rad=2.0, margin=9.0, damp_after_s=0.05)
        )
    assert "damp_after_s" not in str(caught.value)


def test_an_external_vector_has_the_shortest_time_out_that_a_term_gives_it() -> None:
    slow = {"term": "external", "topic": "height_scan", "size": 2, "timeout_s": 0.5}
    contract = contract_of(
        {
            "observations": {
                "obs": {"terms": [slow, {"term": "external", "topic": "goal", "size": 3}]},
                "map": {"terms": [{**slow, "timeout_s": 0.3}]},
            }
        }
    )
    assert input_timeouts_ns(contract) == {"cmd_vel": None, "height_scan": 300 * MS}


def test_a_depth_image_counts_until_it_is_stale_and_for_as_long_as_it_is_held() -> None:
    def timeout_ns(**change: object) -> int | None:
        term = {"term": "depth", "topic": "perception/front", "depth": {**DEPTH, **change}}
        contract = contract_of({"observations": {"obs": {"terms": [term]}}})
        return input_timeouts_ns(contract)["perception/front"]

    assert timeout_ns() == 500 * MS
    assert timeout_ns(on_stale="hold", hold_s=0.3) == 800 * MS
