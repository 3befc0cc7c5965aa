# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo: a simulated robot and a policy node as two processes, a walk, figures and images."""
