# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Evaluates bundles: inspect, compare, closed loop, run, replay, calibrate."""
