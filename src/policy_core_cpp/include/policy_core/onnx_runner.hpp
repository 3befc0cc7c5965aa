// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "policy_core/runner.h"

namespace policy_core {

/// Runs a model with ONNX Runtime's C API, on one thread without spinning, with fixed arrays.
///
/// The library is loaded from its path and not linked; that of the installed wheel
/// (`onnxruntime/capi/libonnxruntime.so.*`) is suitable.
class OnnxRunner {
 public:
  /// Throws std::runtime_error with the message of the loader or the runtime.
  OnnxRunner(const std::string& library, const std::uint8_t* model, std::size_t size);
  ~OnnxRunner();
  OnnxRunner(OnnxRunner&&) noexcept;

  /// Owned by this object.
  const policy_core_runner& runner() const noexcept;
  /// The runtime's message for the last failed `run`; the next failure overwrites it.
  const char* error() const noexcept;

 private:
  struct Session;
  std::unique_ptr<Session> session_;
};

}  // namespace policy_core
