# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Flight recorder: keeps a policy's last seconds in memory, and writes recordings to disk."""
