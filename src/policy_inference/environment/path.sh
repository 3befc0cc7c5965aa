# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
# Commands that `ros2 run` finds are on the PATH too.
_colcon_prepend_unique_value PATH "$COLCON_CURRENT_PREFIX/lib/policy_inference"
