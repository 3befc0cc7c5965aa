# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Tools that turn a training run into a verified policy bundle, without ROS."""
