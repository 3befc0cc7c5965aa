# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Operator interface for a robot: joystick, keys and screen, and a command for scripts.

Imports go one way: `modules without ROS <- nodes`.
"""
