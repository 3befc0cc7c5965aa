# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""From a checkpoint to an ONNX model that is proven to be the same function."""
