# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Estimation: what a robot on legs does not measure, from its joints and its IMU."""
