# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robots in simulated time around the kernel, whose models return what a test sets."""
