// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <cstdint>
#include <optional>

namespace policy_controllers {

/// Selects the manager's updates in which the policy ticks: those nearest to the deadlines, which
/// stay one period apart even if an update is late. Times in ns.
class Pace {
 public:
  explicit Pace(std::int64_t period_ns) : period_ns_(period_ns), slack_ns_(period_ns / 2) {}

  std::int64_t period_ns() const noexcept { return period_ns_; }
  /// Time between two updates of the manager.
  void set_update_period(std::int64_t period_ns) noexcept { slack_ns_ = period_ns / 2; }
  /// Starts with the next update.
  void restart() noexcept { deadline_ns_.reset(); }

  bool is_due(std::int64_t now_ns) const noexcept {
    return !deadline_ns_ || now_ns >= *deadline_ns_ - slack_ns_;
  }
  /// Advances to the next deadline; returns the number of deadlines without a tick.
  std::int64_t advance(std::int64_t now_ns) noexcept {
    if (!deadline_ns_) deadline_ns_ = now_ns;
    const auto missed = std::max<std::int64_t>(0, now_ns - *deadline_ns_ + slack_ns_) / period_ns_;
    *deadline_ns_ += missed * period_ns_;
    const auto off_ns = now_ns - *deadline_ns_;
    // Follows a manager whose clock drifts against this one; a single late update has little
    // effect.
    if (off_ns <= slack_ns_) *deadline_ns_ += off_ns / 16;
    *deadline_ns_ += period_ns_;
    return missed;
  }
  /// The next deadline; call it after `advance`.
  std::int64_t deadline_ns() const noexcept { return *deadline_ns_; }

 private:
  std::int64_t period_ns_, slack_ns_;
  std::optional<std::int64_t> deadline_ns_;
};

}  // namespace policy_controllers
