# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Entry points of the node and emulator commands; each imports its code only when it runs."""

from policy_store.command_line import node_command

arm_leader = node_command("robot_sim.nodes.arm_leader_node")
arm_sim_node = node_command("robot_sim.nodes.arm_sim_node")
fault_injector = node_command("robot_sim.nodes.fault_injector")
lite3_emulator = node_command("robot_sim.nodes.lite3_emulator")
sim_node = node_command("robot_sim.nodes.sim_node")
so101_emulator = node_command("robot_sim.nodes.so101_emulator")
unitree_emulator = node_command("robot_sim.unitree_emulator")
