# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""ROS 2 side of the driver, and the only part of this package that imports rclpy."""
