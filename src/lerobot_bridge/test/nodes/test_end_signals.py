# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Signals sent to this process, which would end it without a handler."""

import signal
from collections.abc import Iterator
from threading import Thread

import pytest

from lerobot_bridge.nodes.robot_link import EndSignals

NUMBERS = [signal.SIGTERM, signal.SIGHUP]


@pytest.fixture(autouse=True)
def _as_at_first() -> Iterator[None]:
    before = {number: signal.signal(number, signal.SIG_DFL) for number in NUMBERS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def handlers() -> list[object]:
    return [signal.getsignal(number) for number in NUMBERS]


@pytest.mark.parametrize("number", NUMBERS)
def test_the_first_one_ends_the_program_and_others_do_not_end_its_end(number: int) -> None:
    signals = EndSignals()
    with pytest.raises(SystemExit) as raised:
        signal.raise_signal(number)
    assert raised.value.code == 128 + number
    signal.raise_signal(number)
    signals.hold_back()
    signal.raise_signal(number)
    signals.give_back()
    assert handlers() == [signal.SIG_DFL] * 2


def test_what_comes_while_the_robot_is_left_ends_the_program_afterwards() -> None:
    signals = EndSignals()
    signals.hold_back()
    signal.raise_signal(signal.SIGTERM)
    with pytest.raises(SystemExit):
        signals.give_back()
    assert handlers() == [signal.SIG_DFL] * 2


def test_handlers_of_signals_that_were_there_stay() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signals = EndSignals()
    assert handlers()[1] == signal.SIG_IGN
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signals.give_back()
    assert handlers() == [signal.SIG_IGN] * 2


def test_other_threads_leave_them_alone() -> None:
    thread = Thread(target=EndSignals)
    thread.start()
    thread.join()
    assert handlers() == [signal.SIG_DFL] * 2
