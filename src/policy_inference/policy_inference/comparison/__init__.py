# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Comparison of a model's outputs with a reference on the same rows: figures and limits."""
