// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "message.hpp"
#include "policy_client/policy_source.hpp"

namespace policy_client {

/// A network in this process, from normalised observations to actions.
class Model {
 public:
  virtual ~Model() = default;

  /// Computes the actions for all rows; returns false, with a message, on failure.
  virtual bool run(const float* observation, float* action, Message& message) noexcept = 0;
};

}  // namespace policy_client
