# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the suite's walking policies: `python -m tools.train_walk --help`."""
