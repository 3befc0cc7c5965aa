# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's arms as ROS 2 robots: SO-100, SO-101, Koch; one arm or two.

The link process runs in LeRobot's environment, which needs no ROS: it owns the servo bus through
LeRobot's own robot classes, and so uses their calibration files and servo settings.
The node runs in the ROS environment, which needs no LeRobot.

Imports point one way: `arms <- frames <- servos <- transport <- robot <- nodes`. Only `servos`
imports LeRobot, when it connects.
"""
