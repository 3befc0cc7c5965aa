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

/// A model in ONNX Runtime's C API, on one thread that never spins, with fixed arrays.
///
/// The library is opened by its path, so nothing is linked: that of the installed wheel
/// (`onnxruntime/capi/libonnxruntime.so.*`) will do.
class OnnxRunner {
 public:
  /// Throws std::runtime_error with what the library or the runtime says.
  OnnxRunner(const std::string& library, const std::uint8_t* model, std::size_t size);
  ~OnnxRunner();
  OnnxRunner(OnnxRunner&&) noexcept;

  /// Belongs to this.
  const policy_core_runner& runner() const noexcept;
  /// What the runtime said when a `run` failed last; changes with the next failure.
  const char* error() const noexcept;

 private:
  struct Session;
  std::unique_ptr<Session> session_;
};

}  // namespace policy_core
