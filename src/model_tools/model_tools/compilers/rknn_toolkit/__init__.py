# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What the compiler `rknn` needs of RKNN Toolkit2: its choices, and a process that runs it."""
