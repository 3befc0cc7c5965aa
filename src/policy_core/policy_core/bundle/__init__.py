# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Reads, checks and hashes policy bundles, without ROS or a runtime."""
