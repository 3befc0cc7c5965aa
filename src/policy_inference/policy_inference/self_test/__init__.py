# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tests a backend on its target machine: correct, fast, steady; with a report to send back."""
