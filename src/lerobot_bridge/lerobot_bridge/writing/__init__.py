# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""LeRobot's own writer of datasets: the only place that imports `lerobot`.

Its import takes seconds and much memory, so commands run it in processes of its own
(`lerobot_bridge.converting.processes`).
"""
