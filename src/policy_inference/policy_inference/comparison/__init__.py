# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of models' outputs on rows with the reference: figures and limits."""
