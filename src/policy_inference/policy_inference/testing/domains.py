# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ROS 2 domains for tests: on this host only, and exclusive to one test."""

import fcntl
import itertools
import os
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

# Above this, a domain's ports overlap with Linux's ephemeral ports.
LAST_SAFE_DOMAIN_ID = 101
# Starting at a multiple of the process ID spreads processes over the domains, even if their IDs are
# consecutive, so that few need a second try; counting up keeps a test away from remains of the
# previous test in its domain.
DOMAIN_IDS = (1 + number % LAST_SAFE_DOMAIN_ID for number in itertools.count(37 * os.getpid()))
# Ports of the first participants of a domain, as DDS counts them.
DOMAIN_PORTS, PORTS_PER_DOMAIN = range(7410, 7430, 2), 250


@contextmanager
def private_ros_domain() -> Iterator[None]:
    """Put nodes started within the context, in this process or its children, in a private domain.

    Only nodes on this host can discover them.
    """
    with claimed_domain_id() as domain_id, pytest.MonkeyPatch.context() as patch:
        patch.setenv("ROS_DOMAIN_ID", str(domain_id))
        patch.setenv(*_localhost_only())
        yield


@contextmanager
def claimed_domain_id() -> Iterator[int]:
    """Yield a ROS 2 domain ID in 1..101 that no other pytest process on this host holds.

    It is also free of other participants, such as a user's nodes or leftovers of a killed run.
    """
    folder = Path(tempfile.gettempdir(), "policy_inference_ros_domains")
    folder.mkdir(exist_ok=True)
    for domain_id in DOMAIN_IDS:
        with (folder / str(domain_id)).open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            if not has_participants(domain_id):
                yield domain_id
                return


def has_participants(domain_id: int) -> bool:
    """Return True if DDS participants on this host use a domain; each has its own port."""
    for port in DOMAIN_PORTS:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", port + PORTS_PER_DOMAIN * domain_id))
            except OSError:
                return True
    return False


def _localhost_only() -> tuple[str, str]:
    if os.environ.get("ROS_DISTRO") == "humble":
        return "ROS_LOCALHOST_ONLY", "1"
    return "ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST"
