# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A journal that no client can fill, in which nothing is lost but its repetition."""

from __future__ import annotations

import logging

import pytest

from policy_inference.service.observer import EventLog
from testkit.wording import check_wording

LOG = logging.getLogger("policy_inference.test_events")


@pytest.fixture(autouse=True)
def _all_levels(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)


def test_ten_thousand_events_are_a_few_lines_and_a_number(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog(LOG)
    for number in range(10_000):
        events.add("connected", f"client {number}", now_s=number * 1e-4)
    events.flush(10.0)

    *some, rest = caplog.messages
    assert some == [f"client {number}" for number in range(20)]
    check_wording(rest)


def test_events_now_and_then_are_a_line_each(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog(LOG)
    for number in range(50):
        events.add("connected", f"client {number}", now_s=3.0 * number)

    assert caplog.messages == [f"client {number}" for number in range(50)]


def test_one_kind_does_not_hide_another(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog(LOG)
    for _ in range(1000):
        events.add("connected", "somebody", now_s=0.0)
    events.add("refused", "somebody else", now_s=0.0)

    assert caplog.messages[-1] == "somebody else"


def test_the_summary_is_as_serious_as_what_it_sums_up(caplog: pytest.LogCaptureFixture) -> None:
    events = EventLog(LOG)
    for level in [logging.INFO] * 21 + [logging.ERROR]:
        events.add("accept", "x", now_s=0.0, level=level)
    events.flush(11.0)

    assert caplog.records[-1].levelno == logging.ERROR
    check_wording(caplog.messages[-1])
