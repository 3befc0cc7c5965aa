# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Estimation of unmeasured state of a legged robot from its joints and IMU."""
