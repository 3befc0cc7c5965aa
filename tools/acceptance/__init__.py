# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Accepts a walking policy on the simulated robot: `python -m tools.acceptance --help`."""
