# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Driver and simulator for a fictional four-legged robot that has its own messages."""
