// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/reference_motion.hpp"

#include <algorithm>

namespace policy_core {
namespace {

/// Maximum number of ticks ahead; for a clip with one frame, also of loops.
constexpr std::int64_t kFarthestAhead = 1 << 16;

Quaternion product(const Quaternion& a, const Quaternion& b) noexcept {
  const auto [ax, ay, az, aw] = a;
  const auto [bx, by, bz, bw] = b;
  return {aw * bx + ax * bw + ay * bz - az * by, aw * by - ax * bz + ay * bw + az * bx,
          aw * bz + ax * by - ay * bx + az * bw, aw * bw - ax * bx - ay * by - az * bz};
}

Quaternion conjugate(const Quaternion& q) noexcept { return {-q[0], -q[1], -q[2], q[3]}; }

Quaternion unit(const Quaternion& quat) noexcept {
  const auto [x, y, z, w] = quat;
  const double length = std::sqrt(x * x + y * y + z * z + w * w);
  const double scale = length > 0.0 ? 1.0 / length : kNan;
  return {x * scale, y * scale, z * scale, w * scale};
}

/// v + 2 q x (q x v + w v).
Vector3 rotate(const Quaternion& quat, const Vector3& v) noexcept {
  const auto [x, y, z, w] = quat;
  const auto [a, b, c] = v;
  const double p = y * c - z * b + w * a, q = z * a - x * c + w * b, r = x * b - y * a + w * c;
  return {a + 2.0 * (y * r - z * q), b + 2.0 * (z * p - x * r), c + 2.0 * (x * q - y * p)};
}

double yaw_of(const Quaternion& quat) noexcept {
  const auto [x, y, z, w] = quat;
  return std::atan2(2.0 * (w * z + x * y), 1.0 - 2.0 * (y * y + z * z));
}

/// The first two columns of the rotation matrix, row by row.
void write_two_columns(const Quaternion& quat, Span out) noexcept {
  const auto [x, y, z, w] = quat;
  out[0] = 1.0 - 2.0 * (y * y + z * z);
  out[1] = 2.0 * (x * y - z * w);
  out[2] = 2.0 * (x * y + z * w);
  out[3] = 1.0 - 2.0 * (x * x + z * z);
  out[4] = 2.0 * (x * z - y * w);
  out[5] = 2.0 * (y * z + x * w);
}

template <class Array>
Array array_of(const double* values) noexcept {
  Array found;
  std::copy(values, values + found.size(), found.begin());
  return found;
}

}  // namespace

Placement Placement::between(const Quaternion& quat, const Vector3& pos, const Quaternion& to_quat,
                             const Vector3& to_pos) noexcept {
  Placement turn;
  turn.yaw = yaw_of(to_quat) - yaw_of(quat);
  return {turn.yaw, difference(to_pos, turn.position(pos))};
}

Placement Placement::after(const Placement& first) const noexcept {
  return {yaw + first.yaw, position(first.shift)};
}

Vector3 Placement::position(const Vector3& pos) const noexcept {
  return sum(rotate({0.0, 0.0, std::sin(0.5 * yaw), std::cos(0.5 * yaw)}, pos), shift);
}

Quaternion Placement::orientation(const Quaternion& quat) const noexcept {
  return product({0.0, 0.0, std::sin(0.5 * yaw), std::cos(0.5 * yaw)}, quat);
}

bool Placement::is_finite() const noexcept {
  return std::isfinite(yaw) && std::isfinite(shift[0]) && std::isfinite(shift[1]) &&
         std::isfinite(shift[2]);
}

Anchor::Anchor(const Part& plan, const Fields& fields)
    : quat_(fields("quat_xyzw")), joint_pos_(fields("joint_pos")), base_(fields("pos_world")) {
  if (base_.size && base_.size != 3) throw PlanError("plan: state: pos_world: expected 3 values");
  for (const auto& link : plan.list("chain")) {
    const auto joint = link.integer("joint");
    if (joint >= static_cast<std::int64_t>(joint_pos_.size)) {
      throw PlanError("plan: a link with a joint that does not exist");
    }
    links_.push_back({joint, array_of<Vector3>(link.numbers("position", 3).data()),
                      array_of<Quaternion>(link.numbers("quat_xyzw", 4).data()),
                      array_of<Vector3>(link.numbers("axis", 3).data())});
  }
}

void Anchor::measure(Quaternion& quat, Vector3& pos) const noexcept {
  quat = unit(array_of<Quaternion>(quat_.data));
  Vector3 offset{};
  for (const auto& link : links_) {
    offset = sum(offset, rotate(quat, link.position));
    quat = product(quat, link.fixed);
    if (link.joint < 0) continue;
    const double half = 0.5 * joint_pos_[static_cast<std::size_t>(link.joint)];
    const double sine = std::isfinite(half) ? std::sin(half) : kNan;
    const double cosine = std::isfinite(half) ? std::cos(half) : kNan;
    quat = product(quat, {link.axis[0] * sine, link.axis[1] * sine, link.axis[2] * sine, cosine});
  }
  pos = base_.size ? sum(array_of<Vector3>(base_.data), offset) : Vector3{};
}

ReferenceMotion::ReferenceMotion(const Part& plan, const Fields& fields) : anchor_(plan, fields) {
  joints_count_ = fields("joint_pos").size;
  if (plan.has("joint_pos")) {
    joint_pos_ = plan.numbers("joint_pos");
    if (!joints_count_ || joint_pos_.empty() || joint_pos_.size() % joints_count_) {
      throw PlanError("plan: motion.joint_pos: expected frames of " +
                      std::to_string(joints_count_) + " joints, found " +
                      std::to_string(joint_pos_.size()) + " values");
    }
    joint_vel_ = plan.numbers("joint_vel", static_cast<std::int64_t>(joint_pos_.size()));
    last_ = static_cast<std::int64_t>(joint_pos_.size() / joints_count_) - 1;
    loops_ = plan.flag("loops");
    anchor_pos_ = plan.numbers("anchor_pos");
    anchor_quat_ = plan.numbers("anchor_quat_xyzw");
  }
  for (const auto& part : plan.list("joints")) {
    const auto newest = part.has("newest") ? fields(part.text("newest")) : Span{};
    joints_.push_back({part.flag("is_position"), part.integer("ahead", 0, kFarthestAhead),
                       fields(part.text("field")), newest});
    if (joints_.back().out.size != joints_count_ || newest.size > joints_count_) {
      throw PlanError("plan: motion.joints: expected fields with a value per joint");
    }
  }
  for (const auto& part : plan.list("anchors")) {
    anchors_.push_back({part.flag("is_position"), part.integer("ahead", 0, kFarthestAhead),
                        fields(part.text("field"))});
    if (anchors_.back().out.size != (anchors_.back().is_position ? 3u : 6u)) {
      throw PlanError("plan: motion.anchors: expected fields of 3 (position) or 6 values");
    }
  }
  live_pos_ = fields("live_anchor_pos");
  live_quat_ = fields("live_anchor_quat_xyzw");
  if (!anchors_.empty()) {
    const auto frames = static_cast<std::size_t>(last_ + 1);
    if (fields("quat_xyzw").size != 4) throw PlanError("plan: state: expected quat_xyzw");
    const bool is_there = is_clip() ? anchor_pos_.size() == 3 * frames &&
                                          anchor_quat_.size() == 4 * frames
                                    : live_pos_.size == 3 && live_quat_.size == 4;
    if (!is_there) throw PlanError("plan: a reference motion without its anchor");
  }
  if (is_clip() && loops_ && !anchors_.empty()) {
    auto end = pos_at(last_);
    end[2] = pos_at(0)[2];
    cycle_step_ = Placement::between(unit(quat_at(0)), pos_at(0), unit(quat_at(last_)), end);
  }
  restart();
}

void ReferenceMotion::restart() noexcept {
  tick_ = cycle_ = 0;
  placement_ = {};
  is_placed_ = false;
  if (is_clip()) write_joints();
}

void ReferenceMotion::advance() noexcept {
  if (!is_clip()) return;
  ++tick_;
  write_joints();
}

void ReferenceMotion::write_joints() noexcept {
  for (const auto& joints : joints_) {
    std::int64_t frame = 0, cycle = 0;
    frame_ahead(joints.ahead, frame, cycle);
    const bool is_over = !loops_ && tick_ + joints.ahead > last_;
    const auto& frames = joints.is_position ? joint_pos_ : joint_vel_;
    const double* values = frames.data() + static_cast<std::size_t>(frame) * joints_count_;
    for (std::size_t i = 0; i < joints_count_; ++i) {
      joints.out[i] = is_over && !joints.is_position ? 0.0 : values[i];
    }
  }
}

void ReferenceMotion::write() noexcept {
  if (!is_clip()) {
    for (const auto& joints : joints_) {
      std::copy(joints.newest.begin(), joints.newest.end(), joints.out.begin());
    }
  }
  if (anchors_.empty()) return;
  Quaternion robot_quat;
  Vector3 robot_pos;
  anchor_.measure(robot_quat, robot_pos);
  const auto first_quat = is_clip() ? unit(quat_at(0)) : unit(array_of<Quaternion>(live_quat_.data));
  const auto first_pos = is_clip() ? pos_at(0) : array_of<Vector3>(live_pos_.data);
  if (!is_placed_) {
    const auto found = Placement::between(first_quat, first_pos, robot_quat, robot_pos);
    is_placed_ = found.is_finite();
    // The newest frame of a live motion is NaN while unknown, and so are the written values.
    if (is_placed_ || !is_clip()) placement_ = found;
  }
  const auto inverse = conjugate(robot_quat);
  for (const auto& anchor : anchors_) {
    auto placement = placement_;
    auto pos = first_pos;
    auto quat = first_quat;
    if (is_clip()) {
      std::int64_t frame = 0, cycle = 0;
      frame_ahead(anchor.ahead, frame, cycle);
      placement = placement_of(cycle);
      pos = pos_at(frame);
      quat = quat_at(frame);
    }
    if (anchor.is_position) {
      const auto there = rotate(inverse, difference(placement.position(pos), robot_pos));
      std::copy(there.begin(), there.end(), anchor.out.begin());
    } else {
      write_two_columns(product(inverse, placement.orientation(quat)), anchor.out);
    }
  }
}

void ReferenceMotion::frame_ahead(std::int64_t ahead, std::int64_t& frame,
                                  std::int64_t& cycle) const noexcept {
  const auto place = tick_ + ahead;
  cycle = loops_ ? place / (last_ + 1) : 0;
  frame = loops_ ? place % (last_ + 1) : std::min(place, last_);
}

Placement ReferenceMotion::placement_of(std::int64_t cycle) noexcept {
  const auto present = loops_ ? tick_ / (last_ + 1) : 0;
  for (; cycle_ < present; ++cycle_) placement_ = placement_.after(cycle_step_);
  auto placement = placement_;
  for (auto i = present; i < cycle; ++i) placement = placement.after(cycle_step_);
  return placement;
}

Quaternion ReferenceMotion::quat_at(std::int64_t frame) const noexcept {
  return array_of<Quaternion>(anchor_quat_.data() + 4 * static_cast<std::size_t>(frame));
}

Vector3 ReferenceMotion::pos_at(std::int64_t frame) const noexcept {
  return array_of<Vector3>(anchor_pos_.data() + 3 * static_cast<std::size_t>(frame));
}

}  // namespace policy_core
