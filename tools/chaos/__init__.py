# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs the suite in one process, in virtual time, under seeded faults; see docs/invariants.md."""
