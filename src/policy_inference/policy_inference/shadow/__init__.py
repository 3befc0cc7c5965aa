# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A second policy that runs alongside the active one on its observations, and never commands."""
