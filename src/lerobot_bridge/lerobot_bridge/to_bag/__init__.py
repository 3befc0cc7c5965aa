# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes episodes of a dataset as recordings of the robot that a mapping describes."""
