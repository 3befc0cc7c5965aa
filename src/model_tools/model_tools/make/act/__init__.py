# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Export of LeRobot's ACT policies: from a checkpoint to graphs and a bundle, without torch."""
