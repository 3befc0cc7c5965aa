// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policy_core/guard.hpp"

namespace policy_core {

/// The clock that is read after inference, ns; under simulated time it stands still in a tick.
using ReadClock = std::int64_t (*)(void* context);

/// What the control path runs in each tick of RUN.
class Policy {
 public:
  /// Of `infer`; why it failed is in `failure`.
  enum class Answer { kFinite, kNotFinite, kError, kNoTarget };

  virtual ~Policy() = default;
  /// Starts clean, as for a new run.
  virtual void reset() noexcept = 0;
  /// Leaves out a time in which the last targets were held.
  virtual void pause(std::int64_t duration_ns) noexcept = 0;
  /// Finds the answer to what was sensed.
  virtual Answer infer() noexcept = 0;
  /// Takes the answer as the tick's; returns the command [joints].
  virtual Numbers& commit() noexcept = 0;
  virtual Command& action() noexcept = 0;
  /// Whether it was clean at the last `infer`.
  virtual bool begins() const noexcept = 0;
  /// What has changed in who commands with the last `commit`; null: nothing.
  virtual const Reason* change() const noexcept { return nullptr; }
  const Reason& failure() const noexcept { return failure_; }

 protected:
  Reason failure_;
};

}  // namespace policy_core
