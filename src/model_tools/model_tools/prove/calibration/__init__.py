# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Collects rows to calibrate with, from many sources, and says what they will do."""
