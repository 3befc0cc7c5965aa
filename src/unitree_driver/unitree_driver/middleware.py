# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""By which network interface a process reaches the robot, for each middleware of ROS 2.

A middleware reads its environment when the first node of a process is made, so only processes that
do nothing else than talk to the robot may set it: the node beside them stays on the network of the
user's other nodes.
"""

import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from robot_driver.interfaces import DriverError

_LOOPBACK = "127.0.0.1"
_SIOCGIFADDR = 0x8915
"""Linux's sockios.h: the IPv4 address of an interface."""
_NAME_BYTES = 15
_PARTICIPANTS = 64
"""Processes of a domain on this machine that find each other without multicast; usually 4."""

_CYCLONE = """<CycloneDDS><Domain Id="any"><General><Interfaces>
<NetworkInterface name="{name}"/></Interfaces></General>{discovery}</Domain></CycloneDDS>"""
# Linux's loopback has no multicast, by which participants find each other elsewhere.
_CYCLONE_LOOPBACK = f"""<Discovery><ParticipantIndex>auto</ParticipantIndex>
<Peers><Peer address="{_LOOPBACK}"/></Peers></Discovery>"""
_FASTDDS = """<?xml version="1.0" encoding="UTF-8"?>
<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
<transport_descriptors><transport_descriptor>
<transport_id>robot</transport_id><type>UDPv4</type>
<interfaceWhiteList><address>{address}</address></interfaceWhiteList>
<maxInitialPeersRange>{participants}</maxInitialPeersRange>
</transport_descriptor></transport_descriptors>
<participant profile_name="robot" is_default_profile="true"><rtps>
{discovery}<userTransports><transport_id>robot</transport_id></userTransports>
<useBuiltinTransports>false</useBuiltinTransports>
</rtps></participant></profiles>
"""
_FASTDDS_LOOPBACK = f"""<builtin><initialPeersList><locator><udpv4>
<address>{_LOOPBACK}</address></udpv4></locator></initialPeersList></builtin>
"""


@contextmanager
def robot_network(interface: str) -> Iterator[None]:
    """Let the first node of this process, made within, join the robot's network.

    The environment of this process stays changed: nodes use this interface alone, and no SROS 2,
    for which the robot has no keys.

    Args:
        interface: Name of the network interface; empty: those of the environment.
    """
    os.environ["ROS_SECURITY_ENABLE"] = "false"
    with TemporaryDirectory(prefix="unitree_driver") as folder:
        if interface:
            os.environ.update(interface_environment(interface, Path(folder)))
        yield


def interface_environment(name: str, folder: Path) -> dict[str, str]:
    """Return the variables with which a process uses one network interface only.

    Args:
        name: Of the interface, such as `eth0`; `lo` for a robot that is emulated on this machine.
        folder: Where a file for Fast DDS is written, which reads no text from its environment.
    """
    address, is_loopback = address_of(name), name == "lo"
    profile = folder / "fastdds.xml"
    profile.write_text(
        _FASTDDS.format(
            address=address,
            discovery=_FASTDDS_LOOPBACK if is_loopback else "",
            participants=_PARTICIPANTS,
        )
    )
    return {
        "CYCLONEDDS_URI": _CYCLONE.format(
            name=name, discovery=_CYCLONE_LOOPBACK if is_loopback else ""
        ),
        # Fast DDS has renamed it, and reads the name of its time.
        "FASTRTPS_DEFAULT_PROFILES_FILE": str(profile),
        "FASTDDS_DEFAULT_PROFILES_FILE": str(profile),
        # What ROS would add to that for the user's own nodes is not for the robot.
        "ROS_AUTOMATIC_DISCOVERY_RANGE": "SYSTEM_DEFAULT",
        "ROS_LOCALHOST_ONLY": "0",
        "ROS_STATIC_PEERS": "",
    }


def address_of(name: str) -> str:
    names = sorted(interface for _, interface in socket.if_nameindex())
    if name not in names:
        raise DriverError(
            f"network_interface: expected one of {', '.join(names)}, found {name!r}; `ip -br addr` "
            "shows which one has an address in the robot's network"
        )
    request = struct.pack("256s", name.encode()[:_NAME_BYTES])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            answer = fcntl.ioctl(probe, _SIOCGIFADDR, request)
        except OSError:
            raise DriverError(
                f"network_interface: {name} has no IPv4 address; give it one in the robot's "
                "network, such as 192.168.123.99/24"
            ) from None
    return socket.inet_ntoa(answer[20:24])


def is_down(name: str) -> bool:
    """Return whether an interface has no connection: a cable that is not plugged in."""
    try:
        return Path(f"/sys/class/net/{name}/operstate").read_text().strip() == "down"
    except OSError:
        return True
