# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""Drafts of `policy.yaml` from training files: one module per format.

An importer turns a source file into a `Draft`, with names and shapes from the ONNX model. Whatever
the source does not state stays a TODO, which the loader refuses until the user answers it.
"""
