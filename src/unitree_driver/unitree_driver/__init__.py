# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Unitree Go2, G1, H1 and H1-2 through their joint-level DDS messages, as the topics of a robot.

Imports point one way: `wire <- figures <- motion_service, reception <- robot <- nodes`. No vendor
SDK is in any process, and only `nodes` imports ROS.
"""
