# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""D-Robotics BPU: `hbm_runtime`, and `pyeasy_dnn` where the board has nothing newer."""
