# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Export LeRobot's ACT policies from checkpoints to graphs and bundles, without torch."""
