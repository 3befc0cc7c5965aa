// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "policy_core/reference_motion.hpp"
#include "policy_core/table.hpp"
#include "policy_core/vector.hpp"

namespace policy_core {

/// Writes the sin and cos of each foot's phase, which counts ticks since RUN began.
class Phase : public Clock {
 public:
  /// `command` is only read if the phase depends on standing.
  Phase(const Part& plan, Span out, Span command);

  void restart() noexcept override;
  void advance() noexcept override;
  void write() noexcept override;
  bool is_commanded() const noexcept { return is_commanded_; }

  template <class Visitor>
  void visit(Visitor& visitor) {
    visitor.value("tick", tick_);
  }

 private:
  bool stands() const noexcept;

  double rate_, period_s_;
  Numbers offsets_;
  Span out_, command_;
  bool is_commanded_;
  double below_ = 0.0, standing_angle_ = 0.0;
  enum class Shown { kClock, kZero, kAngle } shown_ = Shown::kClock;
  enum class Standing { kRuns, kStops, kRestarts } standing_ = Standing::kRuns;
  std::int64_t tick_ = 0;
};

/// The newest values of named fields, in one array, in SI units; NaN until they are written.
class RobotState {
 public:
  /// `memory` holds the fields if a host also writes and reads them; null to allocate it.
  explicit RobotState(const Part& plan, Span memory = {});

  const std::vector<std::string>& names() const noexcept { return names_; }
  /// The field with this index in `names`.
  Span field(std::size_t place) noexcept { return {flat_.data + starts_[place], sizes_[place]}; }
  /// The field with this name; empty if the contract does not need it.
  Span find(const std::string& name) noexcept;
  /// The field with this name; throws PlanError if its size in the plan differs.
  Span find(const std::string& name, std::size_t size);
  Span flat() noexcept { return flat_; }

  /// Resets the policy's own fields: last action and outputs, clocks, number of ticks.
  void restart() noexcept;
  /// Advances to the next tick of a run.
  void advance() noexcept;
  /// Computes the fields that are derived from others.
  void derive() noexcept;
  /// Computes only the phases and the reference motion.
  void derive_own() noexcept;
  bool keeps_time() const noexcept { return tick_.size || !phases_.empty() || motion_; }
  ReferenceMotion* motion() noexcept { return motion_.get(); }
  bool is_finite() const noexcept { return policy_core::is_finite(flat_); }
  /// Bits of the fields that are not finite; only the first 64 fields.
  std::uint64_t not_finite() noexcept;

  template <class Visitor>
  void visit(Visitor& visitor) {
    for (std::size_t i = 0; i < names_.size(); ++i) visitor.array(names_[i].c_str(), field(i));
    if (!is_own_) return;
    auto clocks = visitor.sequence("clocks", phases_.size() + (motion_ ? 1 : 0));
    for (std::size_t i = 0; i < phases_.size(); ++i) clocks.part(i, *phases_[i]);
    if (motion_) clocks.part(phases_.size(), *motion_);
  }

 private:
  std::vector<std::string> names_;
  std::vector<std::size_t> starts_, sizes_;
  Numbers own_memory_;
  Span flat_;
  /// True for a policy's state, with clocks and a last action; false for a set's.
  bool is_own_;
  std::vector<std::unique_ptr<Phase>> phases_;
  std::unique_ptr<ReferenceMotion> motion_;
  std::vector<Clock*> derived_;
  std::vector<Span> own_;
  Span tick_, quat_, gravity_;
};

/// Writes the direction of gravity in the body frame: minus the last row of the rotation matrix of
/// a quaternion [x, y, z, w] of any length.
void gravity_body(Span quat_xyzw, Span out) noexcept;

/// The angle between the body's and the world's up axis, rad, from gravity in the body frame.
double tilt_rad(Span gravity) noexcept;

}  // namespace policy_core
