# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""D-Robotics BPU: `hbm_runtime`, or `pyeasy_dnn` on boards without `hbm_runtime`."""
