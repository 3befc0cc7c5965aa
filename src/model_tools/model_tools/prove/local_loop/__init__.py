# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a bundle's model in the user's environment, and compares it with a reference."""
