# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the walking policies of the suite: `python -m tools.train_walk --help`."""
