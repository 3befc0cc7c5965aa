# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Selection of the messages that make up a tick's observation, on robots and in recordings."""
