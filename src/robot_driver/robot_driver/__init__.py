# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What every driver of a real robot needs, without the name of any robot.

A driver's author writes three things: a `RobotInterface` (how this robot is read, taken, commanded
and given back, with its figures and its own start checks), a `Transport` (the bytes' way to it),
and a node: parameters and sensor topics. The kit does the rest: a process without ROS that sends
commands by its own clock, and the node beside it. Each of the two brings the robot to rest and
gives control back where the other one dies.

Imports point one way: `interfaces <- reception, checks, following <- consistency, robot <-
link, channel <- link_process, supervisor <- nodes`. `link` holds the whole state machine, without
input or output and without a clock.
"""
