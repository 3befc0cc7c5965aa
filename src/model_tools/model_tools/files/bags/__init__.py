# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Robot recordings, read with rosbags (without ROS) and replayed for a policy."""
