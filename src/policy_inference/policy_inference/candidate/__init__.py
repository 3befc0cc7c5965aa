# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A candidate, a version under judgement: its gates, and on trial its limits, end and record."""
