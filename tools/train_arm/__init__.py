# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo policies, with which an SO-101 reaches for a cube that it sees."""
