# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The verbs of the `lerobot_bridge` command, one per module."""
