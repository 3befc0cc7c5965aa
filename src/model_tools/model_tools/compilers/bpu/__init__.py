# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""D-Robotics BPU: a workspace for the vendor's compiler, and its result where that is installed."""
