# SPDX-FileCopyrightText: 2026 The policy_inference authors
# SPDX-License-Identifier: Apache-2.0
"""RKNN Toolkit2: code that the simulator and the compiler share, so that both build the same model.

The toolkit has its own Python, because it needs specific versions of onnx, protobuf and setuptools.
Code that runs in this Python needs only NumPy and, from the suite, this package.
"""
