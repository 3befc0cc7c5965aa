// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "model.hpp"

namespace policy_client {

// What a build has is decided by what CMake finds; each is in one file.
// All throw std::runtime_error for a file that cannot be read or a model that does not fit.
std::unique_ptr<Model> make_onnx_model(const std::string& file, const Options& options);
std::unique_ptr<Model> make_rknn_model(const std::string& file, const Options& options);

}  // namespace policy_client
