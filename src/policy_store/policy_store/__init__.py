# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Bundle versions on a robot: install, activate, roll back, verify, prune, pull, trials.

This package contains everything that runs as root on a robot. `policy_core.bundle.store` defines
the folder layout.
"""
