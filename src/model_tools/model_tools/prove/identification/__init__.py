# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Identification: delays, drives and sensors of a robot, from a recording."""
