// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policy_core/guard.hpp"

namespace policy_core {

/// Reads the clock after inference, ns; simulated time stands still within a tick.
using ReadClock = std::int64_t (*)(void* context);

/// The policy that the control path runs in each tick of RUN.
class Policy {
 public:
  /// Result of `infer`; if it failed, `failure` has the reason.
  enum class Answer { kFinite, kNotFinite, kError, kNoTarget };

  virtual ~Policy() = default;
  /// Clears all memory, for a new run.
  virtual void reset() noexcept = 0;
  /// Excludes a period in which the last targets were held from the policy's time.
  virtual void pause(std::int64_t duration_ns) noexcept = 0;
  /// Computes the answer to the current observation.
  virtual Answer infer() noexcept = 0;
  /// Uses the answer for this tick; returns the command [joints].
  virtual Numbers& commit() noexcept = 0;
  virtual Command& action() noexcept = 0;
  /// True if the policy had no memory at the last `infer`.
  virtual bool begins() const noexcept = 0;
  /// Why the last `commit` changed the members in command; null if it did not.
  virtual const Reason* change() const noexcept { return nullptr; }
  const Reason& failure() const noexcept { return failure_; }

 protected:
  Reason failure_;
};

}  // namespace policy_core
