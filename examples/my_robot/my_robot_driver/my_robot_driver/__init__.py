# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""A fictional four-legged robot with its own messages: driver and simulator."""
