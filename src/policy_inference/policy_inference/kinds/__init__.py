# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of policy (joint and chunk); this package contains everything that differs by kind."""
