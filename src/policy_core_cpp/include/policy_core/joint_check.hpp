// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>

#include "policy_core/input.hpp"
#include "policy_core/table.hpp"
#include "policy_core/vector.hpp"

namespace policy_core {

/// A position, rad, shifted by whole turns as close to `to` as possible; unchanged if `turn` is 0,
/// for a joint that is not continuous.
inline double nearest_turn(double position, double to, double turn) noexcept {
  constexpr double kTurnRad = 2.0 * 3.141592653589793;
  return position - turn * std::nearbyint((position - to) / kTurnRad);
}

/// Checks if joint samples are plausible. Same rules as `policy_core.guard.joint_check`.
class JointCheck {
 public:
  /// Why a sample is not trusted.
  struct Problem {
    enum class Code : std::int64_t {
      kNone,
      kBeyond,      ///< place: joint; is_velocity; found, low, high
      kUnconfirmed, ///< count of `needed` samples agree
      kJump,        ///< place: joint; found, low: the last trusted pose
    } code = Code::kNone;
    std::size_t place = 0;
    bool is_velocity = false;
    double found = 0.0, low = 0.0, high = 0.0;
    std::int64_t count = 0, needed = 0;
  };

  explicit JointCheck(const Part& plan);

  std::size_t joints() const noexcept { return turns_.size(); }

  void forget() noexcept;
  /// Checks positions, rad, and velocities, rad/s (an empty span if unused), received at `now_ns`.
  Problem judge(Span position, Span velocity, std::int64_t now_ns) noexcept;
  void believe(Span position, std::int64_t now_ns) noexcept;

  /// Trusts this pose from now on.
  void believe_now(Span position, std::int64_t now_ns) noexcept {
    seen_ns_ = now_ns;
    believe(position, now_ns);
  }

  bool lost = true;
  bool in_motion = false;
  std::int64_t replaced = 0;
  /// The newest sample if it is in range but not trusted yet, or null.
  const Numbers* doubted() const noexcept { return agreeing_ ? &seen_ : nullptr; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("believed_ns", believed_ns_);
    v.value("seen_ns", seen_ns_);
    v.value("agreeing", agreeing_);
    v.value("lost", lost);
    v.value("in_motion", in_motion);
    v.value("replaced", replaced);
    v.array("believed", {believed_.data(), believed_.size()});
    v.array("seen", {seen_.data(), seen_.size()});
  }

 private:
  double reached(std::size_t joint, std::int64_t since_ns) const noexcept;
  double way(std::size_t joint, double to, double begin) const noexcept {
    return std::fabs(nearest_turn(to, begin, turns_[joint]) - begin);
  }
  Problem beyond(Span position, Span velocity) const noexcept;
  Problem confirm(Span position, std::int64_t since_ns, std::int64_t gap_ns,
                  std::int64_t now_ns) noexcept;

  Numbers turns_, speed_, farthest_, centre_, half_;
  std::int64_t longest_ns_, needed_;
  Time believed_ns_;
  std::int64_t seen_ns_ = 0, agreeing_ = 0;
  Numbers believed_, seen_;
};

}  // namespace policy_core
