# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A loop that does nothing but wait for its deadlines: how late this machine lets anybody be.

Prints the longest time between two rounds, s, once its standard input ends.
"""

import select
import sys
import time


def wait_and_measure(rate_hz: float) -> None:
    largest_s, last_s = 0.0, time.monotonic()
    deadline_s = last_s
    while not select.select([sys.stdin], [], [], max(0.0, deadline_s - time.monotonic()))[0]:
        now_s = time.monotonic()
        largest_s, last_s = max(largest_s, now_s - last_s), now_s
        deadline_s = max(deadline_s + 1.0 / rate_hz, now_s)
    sys.stdout.write(f"{largest_s}")


if __name__ == "__main__":
    wait_and_measure(float(sys.argv[1]))
