# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Delivery of a bundle to robots: compile, sign, push, release."""
