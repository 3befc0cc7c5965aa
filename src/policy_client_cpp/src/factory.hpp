// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>

#include "model.hpp"

namespace policy_client {

// CMake decides which of these functions are built; each is in its own file.
// They throw std::runtime_error for an unreadable file or an unsuitable model.
std::unique_ptr<Model> make_onnx_model(const std::string& file, const Options& options);
std::unique_ptr<Model> make_rknn_model(const std::string& file, const Options& options);

}  // namespace policy_client
