# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Models served by other machines: a link with deadlines and verification, and two protocols."""
