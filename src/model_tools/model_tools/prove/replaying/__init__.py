# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Replays recordings of the flight recorder through their bundle, and shows them."""
