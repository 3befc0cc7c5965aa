# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A second policy that runs beside the active one on the same observations and never commands."""
