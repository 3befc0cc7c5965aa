# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Writes a dataset's episodes as recordings of the robot that a mapping describes."""
