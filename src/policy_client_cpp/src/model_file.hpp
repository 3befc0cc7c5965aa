// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace policy_client {

/// The content of a model's file: a regular file of at most 2 GiB, which is also protobuf's limit.
///
/// @throws std::runtime_error if it cannot be read.
std::string read_model(const std::string& file);

/// Checks that an ONNX model contains all its weights, as every runtime would parse it.
///
/// A hash of the file does not cover other files, and runtimes load weights from any file that the
/// model names. Only the parser's grammar shows where such a reference can be, so this walks
/// protobuf's wire format, like policy_inference/onnx_file.py: it skips weights unread.
///
/// @throws std::runtime_error if weights are in a second file, or it is not an ONNX model.
void require_whole(const std::string& file, const std::string& model);

}  // namespace policy_client
