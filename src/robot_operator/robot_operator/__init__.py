# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The one who stands beside a robot: joystick, keys and screen, and a command for scripts.

Imports point one way: `errors, what is without ROS <- nodes`.
"""
