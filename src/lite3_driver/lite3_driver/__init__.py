# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver for the Lite3: its UDP interface on one side, ROS 2 topics on the other.

`robot_driver` contains what all drivers share; this package contains what is specific to the Lite3.
Imports go one way: `wire <- figures <- reception, sockets <- robot <- nodes`. `wire` imports
nothing from this package, because the emulator of the motion host also uses it.
"""
