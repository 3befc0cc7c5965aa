# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver for the Lite3: connects the robot's UDP interface to ROS 2 topics.

`robot_driver` contains what all drivers share; this package contains what is specific to the Lite3.
Imports go in one direction: `wire <- figures <- reception, sockets <- robot <- nodes`. `wire`
imports nothing from this package, because the motion host's emulator uses it too.
"""
