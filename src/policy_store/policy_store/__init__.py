# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Versions of bundles on a robot: install, activate, roll back, verify, prune, pull, trials.

What runs as root there. `policy_core.bundle.store` has the layout of the folders.
"""
