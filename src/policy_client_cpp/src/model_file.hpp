// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <string>

namespace policy_client {

/// The content of a model's file: a regular one, of at most 2 GiB, which is also protobuf's limit.
///
/// @throws std::runtime_error where it cannot be read.
std::string read_model(const std::string& file);

/// Checks that an ONNX model has all its weights inside, as every runtime would parse it.
///
/// A hash of the file covers nothing outside of it, and runtimes look for weights in second files
/// wherever the model says. Only the grammar of the parser shows where such a reference can be, so this
/// walks protobuf's wire format, as policy_inference/onnx_file.py does: it skips weights unread.
///
/// @throws std::runtime_error where some are in a second file, or it is no ONNX model.
void require_whole(const std::string& file, const std::string& model);

}  // namespace policy_client
