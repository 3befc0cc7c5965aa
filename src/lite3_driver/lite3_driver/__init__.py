# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver of the Lite3: its UDP interface on one side, ROS 2 topics on the other.

`robot_driver` does what all drivers share; this package holds what is specific to the Lite3.
Imports point one way: `wire <- figures <- reception, sockets <- robot <- nodes`. `wire` imports
nothing from this package, because the emulator of the motion host also uses it.
"""
