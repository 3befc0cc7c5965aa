// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "policy_core/guard.hpp"

namespace policy_core {

/// The clock that is read after inference, ns; in simulated time it stands still within a tick.
using ReadClock = std::int64_t (*)(void* context);

/// The policy that the control path runs in each tick of RUN.
class Policy {
 public:
  /// Of `infer`; the reason of a failure is in `failure`.
  enum class Answer { kFinite, kNotFinite, kError, kNoTarget };

  virtual ~Policy() = default;
  /// Clears all memory, as for a new run.
  virtual void reset() noexcept = 0;
  /// Excludes a time in which the last targets were held.
  virtual void pause(std::int64_t duration_ns) noexcept = 0;
  /// Computes the response to the observation.
  virtual Answer infer() noexcept = 0;
  /// Applies the response as this tick's; returns the command [joints].
  virtual Numbers& commit() noexcept = 0;
  virtual Command& action() noexcept = 0;
  /// True if it had no memory at the last `infer`.
  virtual bool begins() const noexcept = 0;
  /// Change of the commanding members in the last `commit`; null for none.
  virtual const Reason* change() const noexcept { return nullptr; }
  const Reason& failure() const noexcept { return failure_; }

 protected:
  Reason failure_;
};

}  // namespace policy_core
