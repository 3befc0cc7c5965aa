# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What all rooms read and write: bundles, models, rows, recordings, datasets, reports."""
