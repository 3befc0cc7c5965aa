# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Times in messages of ROS 2, which this module imports."""

from builtin_interfaces.msg import Time


def stamp(time_ns: int) -> Time:
    sec, nanosec = divmod(time_ns, 1_000_000_000)
    return Time(sec=sec, nanosec=nanosec)


def ns(time: Time) -> int:
    return int(time.sec * 1_000_000_000 + time.nanosec)
