# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Trains the walking policy that ships with the suite: `python -m tools.train_lite3 --help`."""
