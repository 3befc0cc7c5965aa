# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Emulated robots behind their drivers, and everything that can go wrong for them."""
