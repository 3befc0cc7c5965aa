# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Candidate versions: their gates, and the limits, end and record of their trials."""
