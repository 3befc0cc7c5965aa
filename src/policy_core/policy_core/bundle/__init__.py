# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Read, check and hash policy bundles, without ROS or a runtime."""
