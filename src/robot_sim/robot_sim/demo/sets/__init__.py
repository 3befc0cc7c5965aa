# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Command `robot_sim_demo_set`: a simulated robot switches between the policies of a set."""
