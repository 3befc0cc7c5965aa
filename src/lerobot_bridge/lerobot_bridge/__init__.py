# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Connects ROS 2 robots to LeRobot; converts recordings to LeRobot datasets and back."""
