# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Chunk policies such as ACT: images and joints in, chunks of targets out."""
