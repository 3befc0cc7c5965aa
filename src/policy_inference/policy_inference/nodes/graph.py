# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Who is there, by name."""

from typing import Any


def full_name(info: Any) -> str:
    """Return the full name of the node of an rclpy TopicEndpointInfo: `/robot/sim_node`."""
    return f"{info.node_namespace.rstrip('/')}/{info.node_name}"
