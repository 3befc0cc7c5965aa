# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""What a bundle is worth: inspect, compare, closed loop, run, replay, calibrate."""
