# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes datasets with LeRobot's own writer; the only part of this package to import `lerobot`.

The import takes several seconds and a lot of memory, so commands run it in separate processes
(`lerobot_bridge.converting.processes`).
"""
