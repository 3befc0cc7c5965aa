# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drivers for Unitree Go2, G1, H1 and H1-2: expose their joint-level DDS messages as ROS 2 topics.

Imports go in one direction: `wire <- figures <- motion_service, reception <- robot <- nodes`. No
vendor SDK is used, and only `nodes` imports ROS.
"""
