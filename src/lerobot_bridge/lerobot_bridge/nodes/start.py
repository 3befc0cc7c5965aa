# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Entry points of the node commands; each imports its node only when it runs."""

from policy_store.command_line import node_command

episode_recorder = node_command("lerobot_bridge.nodes.episode_recorder")
