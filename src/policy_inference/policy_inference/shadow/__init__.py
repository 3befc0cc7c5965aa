# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A second policy that runs on the active one's observations but never commands the robot."""
