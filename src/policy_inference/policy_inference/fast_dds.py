# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Configures Fast DDS; imports nothing, since a command that presses the e-stop uses it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

DEFAULT_RMW = "rmw_fastrtps_cpp"
DISCOVERY_RANGE = "ROS_AUTOMATIC_DISCOVERY_RANGE"
_FAST_DDS = (
    "FASTRTPS_DEFAULT_PROFILES_FILE",
    "FASTDDS_DEFAULT_PROFILES_FILE",
    "FASTDDS_BUILTIN_TRANSPORTS",
)
"""Environment variables with which a user configures Fast DDS."""
_PROFILES = Path(__file__).parent / "machine"


def fast_dds_without_shared_memory(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that limit Fast DDS to UDP, unless the user has configured it.

    With shared memory, the first message to a new process may wait 0.33 s for its port, and every
    `publish` of this process waits with it (eProsima/Fast-DDS#6535). With discovery range
    LOCALHOST, `rmw_fastrtps` always adds shared memory, so a loopback-only profile is used instead.

    Args:
        environment: Environment variables, read before this process creates its first node.
    """
    rmw = environment.get("RMW_IMPLEMENTATION") or DEFAULT_RMW
    if not rmw.startswith("rmw_fastrtps") or any(environment.get(name) for name in _FAST_DDS):
        return {}
    # Humble and Jazzy know the first name only; from Kilted on every process warns about it.
    profiles = _FAST_DDS[environment.get("ROS_DISTRO", "jazzy") not in ("humble", "jazzy")]
    if (
        environment.get("ROS_LOCALHOST_ONLY") != "1"
        and environment.get(DISCOVERY_RANGE) != "LOCALHOST"
    ):
        return {profiles: str(_PROFILES / "fast_dds_udp.xml")}
    if environment.get("ROS_STATIC_PEERS"):
        return {}
    return {
        profiles: str(_PROFILES / "fast_dds_loopback.xml"),
        DISCOVERY_RANGE: "SYSTEM_DEFAULT",
        "ROS_LOCALHOST_ONLY": "",
    }
