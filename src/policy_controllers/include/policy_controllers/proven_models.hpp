// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <deque>
#include <string>

#include "policy_core/onnx_runner.hpp"
#include "policy_core/policy_set.hpp"
#include "policy_core/table.hpp"

namespace policy_controllers {

/// The models of a plan, opened, and each proven on the golden rows of its bundle.
class ProvenModels {
 public:
  /// `host`: the part of a plan. Throws PlanError where a file is not there or not the one that the
  /// plan was made of, cannot be opened, or computes something else than the rows say.
  explicit ProvenModels(const policy_core::Part& host);

  /// By member; they belong to this.
  const policy_core::Models& runners() const noexcept { return runners_; }
  /// What the runtime of a model said when it failed last; changes with the next failure.
  const char* error(std::size_t model) const noexcept { return opened_[model].error(); }

 private:
  std::deque<policy_core::OnnxRunner> opened_;
  policy_core::Models runners_;
};

}  // namespace policy_controllers
