# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Candidate versions: gates, and code that judges, ends and records trials."""
