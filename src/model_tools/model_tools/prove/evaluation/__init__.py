# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluation: many trials in closed loop, with intervals, on one machine or on a cluster."""
