# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Real sockets and real processes: whichever dies, the robot is braked and given back."""

from __future__ import annotations

import itertools
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from lite3_driver import wire
from lite3_driver.wire import FOLD, GIVE_BACK, TAKE_CONTROL
from policy_inference.machine.scheduling import RealTime
from robot_driver.interfaces import DriverError, DriverPhase
from testkit.waiting import until
from testkit.wording import check_wording, refusal

from .lockstep import DAMP, RUN, braking
from .udp_host import Node, UdpHost, host_with_node, own_settings

REST_NS = 2_000_000_000


@pytest.fixture
def host_and_node() -> Iterator[tuple[UdpHost, Node]]:
    with host_with_node(own_settings()) as both:
        yield both


def alive(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False


def brakes(data: bytes) -> bool:
    values = wire.read_command(data)
    return values is not None and braking(values.astype(float))


def check_shutdown(host: UdpHost, since_ns: int) -> None:
    """Check that braking for 2 s, then giving back, was the last that the host heard.

    Args:
        host: It.
        since_ns: A time before the shutdown sequence, on the system's clock: whatever a busy
            machine holds up makes the 2 s longer.
    """
    until(lambda: GIVE_BACK in host.codes())
    assert host.requests() == [FOLD, TAKE_CONTROL, TAKE_CONTROL, GIVE_BACK]
    *heard, last = (data for data, _ in host.heard)
    assert wire.read_request(last) == GIVE_BACK
    assert host.at_ns[len(heard)] - since_ns >= REST_NS
    braked = len(list(itertools.takewhile(brakes, reversed(heard))))
    first_ns, last_ns = host.at_ns[len(heard) - braked], host.at_ns[len(heard) - 1]
    # Not the 2 s: the first and the last of the frames may be late, and early, by a stall.
    assert last_ns - first_ns > REST_NS / 2


@pytest.fixture(scope="module")
def listening() -> Iterator[tuple[UdpHost, Node]]:
    """A link without control; tests leave it as it is."""
    with host_with_node(own_settings()) as both:
        yield both


def test_states_come_as_often_as_asked_for(listening: tuple[UdpHost, Node]) -> None:
    _, node = listening
    until(lambda: len(node.states) > 200)
    ticks = np.array([state.tick for state, _ in node.states])
    assert (np.diff(ticks // 2) >= 1).all()
    assert (np.diff(ticks) == 2).mean() > 0.8


def test_signals_do_not_end_the_link(listening: tuple[UdpHost, Node]) -> None:
    _, node = listening
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(node.link.pid, number)
    before = len(node.states)
    until(lambda: len(node.states) > before + 100)
    assert alive(node.link.pid)


def test_datagrams_that_the_kernel_dropped_are_counted(listening: tuple[UdpHost, Node]) -> None:
    host, node = listening
    os.kill(node.link.pid, signal.SIGSTOP)
    for tick in range(2_000):
        host.tell(host.state, 10**6 + tick)
    os.kill(node.link.pid, signal.SIGCONT)
    until(lambda: bool(node.report.details["dropped"]))


@pytest.mark.slow
def test_a_link_that_hangs_is_replaced_by_its_node(host_and_node: tuple[UdpHost, Node]) -> None:
    host, node = host_and_node
    node.in_control(RUN)
    since_ns = time.time_ns()
    os.kill(node.link.pid, signal.SIGSTOP)
    check_shutdown(host, since_ns)
    until(lambda: bool(node.lost))
    assert "hung" in node.lost[0]
    assert len({source for _, source in host.heard}) == 1


@pytest.mark.slow
def test_a_fold_is_stopped_when_the_link_dies() -> None:
    with host_with_node(own_settings(fold_s=60.0)) as (host, node):
        until(lambda: bool(node.reports and node.report.obstacles == ()))
        node.link.take()
        until(lambda: host.codes() == [FOLD] and node.report.phase is DriverPhase.TAKING)
        since_ns = time.time_ns()
        os.kill(node.link.pid, signal.SIGKILL)
        check_shutdown(host, since_ns)


def test_a_link_that_hangs_never_lets_a_request_wait(host_and_node: tuple[UdpHost, Node]) -> None:
    _, node = host_and_node
    link, command = node.link, node.made(DAMP)
    until(lambda: bool(node.reports))
    os.kill(link.pid, signal.SIGSTOP)
    # If one waited for room, it would be until the process is taken for hung, and killed.
    for _ in range(2000):
        link.follow(command)
    for _ in range(100):
        link.follow(command)
        assert [link.damp("tried"), link.take(), link.release()] == [False] * 3
    assert node.lost == []
    os.kill(link.pid, signal.SIGCONT)


@pytest.mark.slow
def test_a_request_to_brake_reaches_a_link_that_hung_as_soon_as_it_goes_on(
    host_and_node: tuple[UdpHost, Node],
) -> None:
    host, node = host_and_node
    node.in_control(RUN)
    os.kill(node.link.pid, signal.SIGSTOP)
    while node.link.damp("there is room"):
        node.link.follow(node.made(RUN))
    assert not node.link.damp("pressed")
    os.kill(node.link.pid, signal.SIGCONT)
    until(lambda: "pressed" in node.report.reason)
    assert node.report.phase is DriverPhase.DAMPING
    until(lambda: brakes(host.heard[-1][0]))


@pytest.mark.acceptance
def test_a_link_that_hangs_while_nothing_is_controlled_is_reported(
    host_and_node: tuple[UdpHost, Node],
) -> None:
    host, node = host_and_node
    until(lambda: bool(node.reports))
    os.kill(node.link.pid, signal.SIGSTOP)
    until(lambda: bool(node.lost))
    assert "hung" in node.lost[0]
    assert host.codes() == []


@pytest.mark.slow
def test_a_node_that_hangs_does_not_hold_up_the_robot(host_and_node: tuple[UdpHost, Node]) -> None:
    host, node = host_and_node
    node.in_control(RUN)
    node.hangs.set()
    before = len(host.codes())
    # Longer than the channel can hold.
    until(lambda: len(host.codes()) > before + 600)
    node.link.release()
    until(lambda: GIVE_BACK in host.codes())
    node.goes_on.set()
    node.hangs.clear()
    until(lambda: len(node.answers) == 2)
    until(lambda: node.report.phase is DriverPhase.LISTENING)
    assert node.report.details["not_read_by_node"]


@pytest.mark.slow
def test_a_port_in_use_is_an_error_that_names_it() -> None:
    settings = own_settings()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((settings.interface_address, settings.state_port))
        with refusal(DriverError):
            Node(settings)


def test_a_port_that_becomes_free_in_time_is_waited_for() -> None:
    settings = own_settings()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind((settings.interface_address, settings.state_port))
        # As the process of a driver that was killed, in its shutdown sequence.
        leaves = threading.Timer(0.2, other.close)
        leaves.start()
        Node(settings).link.close()
        leaves.join()


def test_the_process_keeps_to_its_cores_and_reports_what_the_machine_refuses() -> None:
    core = max(os.sched_getaffinity(0))
    node = Node(own_settings(realtime=RealTime(priority=1000, cpus=(core,))))
    until(lambda: bool(node.reports))
    assert os.sched_getaffinity(node.link.pid) == {core}
    (priority,) = node.report.refused
    check_wording(priority)
    assert node.report.phase is DriverPhase.LISTENING
    node.link.close()


def test_an_unreachable_host_is_an_obstacle() -> None:
    node = Node(own_settings(host_address="192.0.2.1"))
    until(lambda: bool(node.reports))
    node.link.take()
    until(lambda: bool(node.answers))
    assert any("192.0.2.1" in obstacle for obstacle in node.report.obstacles)
    check_wording(node.answers[0].message)
    node.link.close()


@pytest.mark.slow
def test_a_machine_where_nothing_listens_is_not_taken() -> None:
    settings = own_settings()
    with closing(UdpHost(settings, deaf=True)):
        node = Node(settings)
        check_wording(node.taken().message)
        node.link.close()
        assert node.report.phase is DriverPhase.LISTENING


def test_a_link_that_dies_is_reported_and_requests_to_it_are_harmless(
    host_and_node: tuple[UdpHost, Node],
) -> None:
    host, node = host_and_node
    os.kill(node.link.pid, signal.SIGKILL)
    until(lambda: bool(node.lost))
    assert "hung" not in node.lost[0]
    node.link.take()
    node.link.follow(node.made(RUN))
    node.link.close()
    node.link.close()
    assert host.codes() == []
