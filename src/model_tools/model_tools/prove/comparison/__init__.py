# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Compares artifacts of bundles: open loop on rows, latency, closed loop on a simulated robot."""
