# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver for LeRobot's arms as ROS 2 robots: SO-100, SO-101 and Koch, one arm or two.

The link process runs in LeRobot's environment, without ROS. It accesses the servo bus through
LeRobot's own robot classes, and therefore uses their calibration files and servo settings. The node
runs in the ROS environment, without LeRobot.

Imports go in one direction: `arms <- frames <- servos <- transport <- robot <- nodes`. Only
`servos` imports LeRobot, when it connects.
"""
