# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads and writes files for all parts: bundles, models, rows, recordings, datasets, reports."""
