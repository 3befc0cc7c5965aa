# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""The demo of chunk policies: a simulated arm with cameras, episodes, success count, video."""
