# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Control path without ROS: observation, inference, action, guard and modes."""
