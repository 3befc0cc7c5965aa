# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The parts common to all drivers for real robots.

A driver's author writes three things: a `RobotInterface` (how to read the robot, take control,
command it and give control back, plus its data and its own start checks), a `RobotTransport` (the
connection to the robot), and a node with parameters and sensor topics. This package provides the
rest: a process without ROS that sends commands on its own clock, and the node that works with it.
If either process dies, the other brings the robot to rest and gives control back.

Imports go one way: `interfaces <- reception, checks, following <- consistency, robot <- link,
channel <- link_process, supervisor <- nodes`. `link` contains the whole state machine, with no I/O
and no clock.
"""
