// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "policy_core/table.hpp"
#include "policy_core/vector.hpp"

namespace policy_core {

/// Counts the ticks of a run: base class of a phase and of the player of a reference motion.
class Clock {
 public:
  virtual ~Clock() = default;
  virtual void restart() noexcept = 0;
  virtual void advance() noexcept = 0;
  virtual void write() noexcept = 0;
};

/// Transformation from the motion's world to the robot's: a rotation about the vertical, then a
/// translation.
struct Placement {
  double yaw = 0.0;
  Vector3 shift{};

  static Placement between(const Quaternion& quat, const Vector3& pos, const Quaternion& to_quat,
                           const Vector3& to_pos) noexcept;
  Placement after(const Placement& first) const noexcept;
  Vector3 position(const Vector3& pos) const noexcept;
  Quaternion orientation(const Quaternion& quat) const noexcept;
  bool is_finite() const noexcept;

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("yaw", yaw);
    v.vector("shift", shift);
  }
};

using Fields = std::function<Span(const std::string&)>;

/// Measures the pose of the robot's anchor.
class Anchor {
 public:
  Anchor(const Part& plan, const Fields& fields);

  /// Writes the anchor's orientation and position in the world, with the base at the origin if its
  /// position is not measured.
  void measure(Quaternion& quat, Vector3& pos) const noexcept;

 private:
  struct Link {
    std::int64_t joint;
    Vector3 position;
    Quaternion fixed;
    Vector3 axis;
  };
  std::vector<Link> links_;
  Span quat_, joint_pos_, base_;
};

/// Writes each tick's reference into state fields, from a clip's frames or the newest frame of a
/// live motion. Equivalent to `policy_core.observation.clip_player`.
class ReferenceMotion : public Clock {
 public:
  ReferenceMotion(const Part& plan, const Fields& fields);

  void restart() noexcept override;
  void advance() noexcept override;
  void write() noexcept override;
  bool is_clip() const noexcept { return last_ >= 0; }
  bool has_ended() const noexcept { return is_clip() && !loops_ && tick_ > last_; }

  template <class Visitor>
  void visit(Visitor& v) {
    if (is_clip()) {
      v.value("tick", tick_);
      v.value("cycle", cycle_);
    }
    v.value("is_placed", is_placed_);
    v.part("placement", placement_);
  }

 private:
  struct Joints {
    bool is_position;
    std::int64_t ahead;
    Span out, newest;
  };
  struct Anchored {
    bool is_position;
    std::int64_t ahead;
    Span out;
  };

  void frame_ahead(std::int64_t ahead, std::int64_t& frame, std::int64_t& cycle) const noexcept;
  void write_joints() noexcept;
  Placement placement_of(std::int64_t cycle) noexcept;
  Quaternion quat_at(std::int64_t frame) const noexcept;
  Vector3 pos_at(std::int64_t frame) const noexcept;

  Numbers joint_pos_, joint_vel_, anchor_pos_, anchor_quat_;
  std::size_t joints_count_ = 0;
  /// The last frame; -1 for a live motion.
  std::int64_t last_ = -1;
  bool loops_ = false;
  std::vector<Joints> joints_;
  std::vector<Anchored> anchors_;
  Anchor anchor_;
  Span live_pos_, live_quat_;
  Placement cycle_step_;
  std::int64_t tick_ = 0, cycle_ = 0;
  bool is_placed_ = false;
  Placement placement_;
};

}  // namespace policy_core
