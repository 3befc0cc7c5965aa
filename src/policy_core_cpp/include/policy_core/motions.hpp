// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <vector>

#include "policy_core/guard.hpp"
#include "policy_core/joint_check.hpp"

namespace policy_core {

/// The motion from a measured pose through the `via` poses to the stand pose.
class Stand {
 public:
  explicit Stand(const Part& plan);

  void begin(Span pose, std::int64_t now_ns) noexcept;
  void pause(std::int64_t duration_ns) noexcept { began_ns_ += duration_ns; }
  /// Writes the targets for this time; returns true if the motion has ended.
  bool update(std::int64_t now_ns) noexcept;
  /// True if this joint is too far from the stand pose for RUN to begin.
  bool is_far_off(Span joint_pos, std::size_t joint) const noexcept {
    return std::fabs(joint_pos[joint] - pose_[joint]) > tolerance_[joint];
  }
  const Numbers& pose() const noexcept { return pose_; }

  Targets targets;

  template <class Visitor>
  void visit(Visitor& v) {
    v.integers("ends_ns", ends_ns_, parts_);
    v.rows("way", way_, parts_ + 1, targets.joints());
    v.value("began_ns", began_ns_);
    v.array("position", targets.position());
  }

 private:
  Numbers poses_, pose_, tolerance_;
  std::vector<std::int64_t> durations_ns_;
  std::vector<bool> posed_;
  /// Number of segments of the motion from the measured pose.
  std::size_t parts_ = 1;
  Numbers way_;
  std::vector<std::int64_t> ends_ns_;
  std::int64_t began_ns_ = 0;
};

/// Provides the targets of DAMP. Same rules as `policy_core.control.motions.SafeTargets`.
class SafeTargets {
 public:
  SafeTargets(const Part& plan, StepBound& step, Span joint_vel);

  void forget() noexcept;
  void note(Targets& commanded) noexcept;
  void see(Span joint_pos, Time sample_ns) noexcept;
  void capture() noexcept;
  void hold() noexcept;
  void watch(Span joint_pos, const JointCheck& check, std::int64_t gap_ns, bool is_stale) noexcept;
  Span start_of(Span joint_pos) noexcept {
    return holds_ && known ? targets.position() : joint_pos;
  }
  /// True if no motion can start because this joint is far from the position that it should hold.
  bool contradicts(Span joint_pos, std::size_t joint) noexcept {
    return holds_ && known && is_pose(joint_pos) && is_far(joint_pos, joint);
  }

  Targets targets;
  bool known = false;
  bool requested = false;

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("known", known);
    v.value("sample_ns", sample_ns_);
    v.value("lost", lost_);
    v.value("replaced", replaced_);
    v.value("requested", requested);
    v.array("position", targets.position());
    v.array("goal", {goal_.data(), goal_.size()});
    v.array("commanded", {commanded_.data(), commanded_.size()});
    v.array("measured", {measured_.data(), measured_.size()});
    v.array("newest", {newest_.data(), newest_.size()});
    v.array("seen", {seen_.data(), seen_.size()});
  }

 private:
  bool is_pose(Span joint_pos) const noexcept;
  bool is_far(Span joint_pos, std::size_t joint) noexcept;
  bool has_moved(Span joint_pos) noexcept;
  double pose_of(std::size_t joint, double commanded) const noexcept;
  double within_limits(std::size_t joint, double position) const noexcept {
    return clip(position, low_[joint], high_[joint]);
  }

  StepBound& step_;
  Span joint_vel_;
  bool holds_;
  Numbers low_, high_, tolerance_, turns_, speed_;
  std::int64_t period_ns_, timeout_ns_;
  Numbers goal_, commanded_, measured_, newest_, seen_;
  Time sample_ns_;
  bool lost_ = true;
  std::int64_t replaced_ = 0;
};

}  // namespace policy_core
