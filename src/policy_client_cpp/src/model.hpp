// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "message.hpp"
#include "policy_client/policy_source.hpp"

namespace policy_client {

/// A network in this process: observations in, normalised already, and actions out.
class Model {
 public:
  virtual ~Model() = default;

  /// Runs once for all rows; false, with a message, where that failed.
  virtual bool run(const float* observation, float* action, Message& message) noexcept = 0;
};

}  // namespace policy_client
