// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>

#include "policy_core/onnx_runner.hpp"
#include "policy_core/policy_set.hpp"
#include "policy_core/table.hpp"

namespace policy_controllers {

/// The opened models of a plan, each verified on the golden rows of its bundle.
class ProvenModels {
 public:
  /// `host`: the plan's part for the host. Throws PlanError if a file is missing, differs from the
  /// one that the plan was made from or cannot be opened, or if a model's outputs differ from the
  /// rows.
  explicit ProvenModels(const policy_core::Part& host);

  /// Runners by member; owned by this object.
  const policy_core::Models& runners() const noexcept { return runners_; }
  /// Message of the latest failure of a model's runtime; overwritten by the next failure.
  const char* error(std::size_t model) const noexcept { return opened_[model].error(); }

 private:
  std::deque<policy_core::OnnxRunner> opened_;
  policy_core::Models runners_;
};

}  // namespace policy_controllers
