# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kernel: a bundle and what was measured in, safe joint commands out; one call per tick.

NumPy and YAML: no ROS, no process, no clock of its own, no file but the bundle's.
Imports point one way: ``bundle <- observation <- guard <- control <- members <- sets``.
"""
