# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a chunk policy saw: observations of datasets and recordings, and what its graphs get."""
