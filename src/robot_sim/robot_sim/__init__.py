# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Simulated robots: `world` runs without ROS; `nodes` provides the topics of a real robot."""
