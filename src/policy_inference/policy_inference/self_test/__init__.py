# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Test a back end on its target machine for correctness, speed and steadiness; write a report."""
