# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drafts of `policy.yaml` from what training leaves behind: one module per foreign format.

An importer turns a source file, and the ONNX model for names and shapes, into a `Draft`. What the
source does not say stays a TODO that the loader refuses, or is answered by the user.
"""
