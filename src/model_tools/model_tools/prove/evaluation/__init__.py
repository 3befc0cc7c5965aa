# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: many closed-loop trials, with intervals, on one machine or a cluster."""
