// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace policy_client {

/// Returns the content of a model's file, a regular file of at most 2 GiB, as protobuf requires.
///
/// @throws std::runtime_error if it cannot be read.
std::string read_model(const std::string& file);

/// Checks that an ONNX model contains all its weights, however a runtime parses it.
///
/// Runtimes load weights from any file that the model names, which a hash of the model's file does
/// not cover. Only the grammar shows where such a name can be, so this walks protobuf's wire format
/// like policy_core/onnx_file.py, and skips the weights.
///
/// @throws std::runtime_error if weights are in another file, or this is not an ONNX model.
void require_whole(const std::string& file, const std::string& model);

}  // namespace policy_client
