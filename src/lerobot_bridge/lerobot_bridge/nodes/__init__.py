# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What talks over ROS 2; the only place of this package where rclpy is imported."""
