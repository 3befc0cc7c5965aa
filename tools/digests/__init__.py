# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Digests of what the suite computes: the proof that a change of its structure changes nothing."""
