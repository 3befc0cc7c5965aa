# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models that other machines serve: one link with deadlines and proofs, and two protocols."""
