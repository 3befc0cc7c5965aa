# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Entry points of the node commands; each imports its node only when it runs."""

from policy_store.command_line import node_command

_NODE = "unitree_driver.nodes.driver_node"

go2_driver = node_command(_NODE, "go2")
g1_driver = node_command(_NODE, "g1")
h1_driver = node_command(_NODE, "h1")
h1_2_driver = node_command(_NODE, "h1_2")
