# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Estimate a legged robot's unmeasured state from its joints and IMU."""
