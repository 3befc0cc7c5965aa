# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ROS 2 robots as LeRobot robots, recordings as LeRobot datasets, and back."""
