# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The figures of the demo of a policy set: what it shows, and what makes it fail."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from examples.demos.policy_set import main, table, verdict
from testkit.wording import check_wording

ROUND: dict[str, Any] = {
    "friction": 0.4,
    "latency_ms": 20.0,
    "pushes": 5,
    "switches": 12,
    "refused": 1,
    "fallbacks": 0,
    "falls": 0,
    "fault": None,
    "largest_step_ratio": 0.9,
    "max_tilt_deg": 12.0,
}
SUMMARY: dict[str, Any] = {
    "bundle": "gaits",
    "version": "1.0.0",
    "members": {"walk": {"bundle": "a_walk", "version": "0.1.0", "rate_hz": 50.0}},
    "switches": 12,
    "refused": 1,
    "falls": 0,
    "largest_step_ratio": 0.9,
    "rounds": [ROUND],
    "failing": {**ROUND, "fallbacks": 1, "state": "crouch"},
    "simulated_s": 60.0,
    "wall_s": 20.0,
}


def test_a_run_without_falls_is_good_and_its_table_has_all_rounds() -> None:
    assert verdict(SUMMARY) is None
    check_wording(table(SUMMARY))


@pytest.mark.parametrize(
    "changes",
    [
        {"falls": 2},
        {"largest_step_ratio": 1.7},
        {"rounds": [{**ROUND, "fault": "attitude: 61 degrees"}]},
        {"failing": {**ROUND, "state": "crouch"}},
    ],
    ids=["no fall 2", "most 1.5 times", "attitude 61 degrees", "fallback"],
)
def test_what_goes_wrong_fails_the_demo(changes: dict[str, Any]) -> None:
    check_wording(verdict({**copy.deepcopy(SUMMARY), **changes}) or "")


@pytest.mark.parametrize("count", ["0", "many", "-3"])
def test_a_number_of_switches_that_is_none_is_refused(
    count: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(["--switches", count])
    check_wording(capsys.readouterr().err.splitlines()[-1])
