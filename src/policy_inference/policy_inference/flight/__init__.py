# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The flight recorder: the last seconds of a policy in memory, and recordings of them on disk."""
