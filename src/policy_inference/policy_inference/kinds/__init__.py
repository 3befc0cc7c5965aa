# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The kinds of policy, joint and chunk: all differences between them are here."""
