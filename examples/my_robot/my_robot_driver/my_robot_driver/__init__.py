# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A made-up robot with four legs and messages of its own: its driver, and its simulator."""
