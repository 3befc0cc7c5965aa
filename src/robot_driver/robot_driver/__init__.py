# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The common part of all drivers for real robots, independent of any one robot.

The author of a driver writes three things: a `RobotInterface` (how to read this robot, take
control, command it and give control back, with its data and its own start checks), a `Transport`
(the connection to it), and a node: parameters and sensor topics. This package does the rest: a
process without ROS that sends commands on its own clock, and the node beside it. If either process
dies, the other brings the robot to rest and gives control back.

Imports point one way: `interfaces <- reception, checks, following <- consistency, robot <-
link, channel <- link_process, supervisor <- nodes`. `link` holds the whole state machine, without
input or output and without a clock.
"""
