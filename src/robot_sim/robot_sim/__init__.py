# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A simulated Lite3 quadruped: `world` without ROS, `nodes` with the topics of a real robot."""
