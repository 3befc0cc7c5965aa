# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Lets everything go wrong for an emulated robot: `python -m tools.robot_faults --help`."""
