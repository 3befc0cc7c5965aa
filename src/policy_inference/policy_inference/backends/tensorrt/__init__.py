# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA TensorRT 8.6 to 11: engines built from ONNX, cached, and run with page-locked memory."""
