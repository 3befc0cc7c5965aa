# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo of a fleet: simulated robots, and a registry, Prometheus and Ansible that are real."""
