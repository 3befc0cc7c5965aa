# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot datasets and checkpoints, read without LeRobot or torch."""
