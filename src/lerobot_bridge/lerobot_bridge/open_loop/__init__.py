# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Runs a dataset's episodes through an exported policy; compares predicted and recorded actions."""
