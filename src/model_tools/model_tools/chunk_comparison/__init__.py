# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Artifacts of chunk policies on the same observations: features, chunks, cameras."""
