# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel: turns a bundle and measurements into safe joint commands, one call per tick.

Depends on NumPy and YAML only. It does not use ROS, starts no processes, has no clock of its own,
and reads no files but the bundle's. Imports go in one direction: ``bundle <- observation <- guard
<- control <- members <- sets``.
"""
