// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/motions.hpp"

#include <algorithm>

namespace policy_core {
namespace {

constexpr double kFollowedRad = 0.05;

/// Copies the rows of targets in a plan.
void take(Targets& targets, const Part& plan) {
  targets.block() = plan.numbers("block", static_cast<std::int64_t>(targets.block().size()));
}

}  // namespace

Stand::Stand(const Part& plan)
    : targets(plan.numbers("tolerance").size()),
      poses_(plan.numbers("poses")),
      tolerance_(plan.numbers("tolerance")),
      durations_ns_(plan.integers("durations_ns")),
      posed_(flags(plan, "posed", tolerance_.size())) {
  const auto joints = tolerance_.size(), poses = durations_ns_.size();
  if (poses == 0 || poses_.size() != poses * joints) throw PlanError("plan: stand without poses");
  for (auto duration_ns : durations_ns_) {
    if (duration_ns < 0) throw PlanError("plan: stand.durations_ns: expected 0 ns or more");
  }
  take(targets, plan.at("targets"));
  pose_.assign(poses_.end() - static_cast<std::ptrdiff_t>(joints), poses_.end());
  way_.resize((poses + 1) * joints);
  ends_ns_.resize(poses);
  begin({pose_.data(), joints}, 0);
}

void Stand::begin(Span pose, std::int64_t now_ns) noexcept {
  const auto joints = tolerance_.size();
  const auto distance = [&](const double* from) {
    double sum = 0.0;
    for (std::size_t i = 0; i < joints; ++i) {
      const double way = from[i] - pose_[i];
      if (posed_[i]) sum += way * way;
    }
    return std::sqrt(sum);
  };
  const double measured = distance(pose.data);
  std::copy(pose.begin(), pose.end(), way_.begin());
  parts_ = 0;
  std::int64_t end_ns = 0;
  for (std::size_t i = 0; i < durations_ns_.size(); ++i) {
    const double* via = poses_.data() + i * joints;
    if (i + 1 < durations_ns_.size() && !(distance(via) < measured)) continue;
    end_ns += durations_ns_[i];
    ends_ns_[parts_++] = end_ns;
    std::copy(via, via + joints, way_.data() + parts_ * joints);
  }
  began_ns_ = now_ns;
}

bool Stand::update(std::int64_t now_ns) noexcept {
  const std::int64_t passed_ns = std::max<std::int64_t>(0, now_ns - began_ns_);
  std::size_t part = 0;
  while (part + 1 < parts_ && ends_ns_[part] <= passed_ns) ++part;
  const auto began_ns = part ? ends_ns_[part - 1] : 0;
  const double share = std::min(1.0, static_cast<double>(passed_ns - began_ns) /
                                         static_cast<double>(ends_ns_[part] - began_ns));
  const double smooth = share * share * (3.0 - 2.0 * share);
  const auto joints = tolerance_.size();
  const double* start = way_.data() + part * joints;
  const double* end = start + joints;
  const auto position = targets.position();
  for (std::size_t i = 0; i < joints; ++i) position[i] = start[i] + smooth * (end[i] - start[i]);
  return share >= 1.0;
}

SafeTargets::SafeTargets(const Part& plan, StepBound& step, Span joint_vel)
    : targets(plan.numbers("low").size()),
      step_(step),
      joint_vel_(joint_vel),
      holds_(plan.flag("holds")),
      low_(plan.numbers("low")),
      high_(plan.numbers("high", static_cast<std::int64_t>(low_.size()))),
      tolerance_(plan.numbers("tolerance", static_cast<std::int64_t>(low_.size()))),
      turns_(plan.numbers("turns", static_cast<std::int64_t>(low_.size()))),
      speed_(plan.numbers("speed", static_cast<std::int64_t>(low_.size()))),
      period_ns_(plan.count("period_ns")),
      timeout_ns_(plan.count("timeout_ns")),
      goal_(low_.size()),
      commanded_(low_.size()),
      measured_(low_.size()),
      newest_(low_.size()),
      seen_(low_.size()) {
  take(targets, plan.at("targets"));
  forget();
}

void SafeTargets::forget() noexcept {
  known = !holds_;
  std::fill(goal_.begin(), goal_.end(), kNan);
  commanded_ = goal_;
  measured_ = goal_;
  sample_ns_.reset();
  lost_ = true;
  requested = false;
}

void SafeTargets::note(Targets& commanded) noexcept {
  if (!holds_) return;
  const auto position = targets.position(), from = commanded.position();
  for (std::size_t i = 0; i < low_.size(); ++i) {
    commanded_[i] = from[i];
    position[i] = step_.within(i, position[i]);
  }
}

void SafeTargets::see(Span joint_pos, Time sample_ns) noexcept {
  const auto last_ns = sample_ns_;
  if (!holds_ || !sample_ns || sample_ns == last_ns || !is_pose(joint_pos)) return;
  const bool compares = last_ns && *sample_ns - *last_ns <= timeout_ns_;
  for (std::size_t i = 0; i < low_.size(); ++i) {
    seen_[i] = joint_pos[i];
    if (compares) {
      const double newest = nearest_turn(joint_pos[i], commanded_[i], turns_[i]);
      const double before = nearest_turn(newest_[i], commanded_[i], turns_[i]);
      if (std::fabs(before - commanded_[i]) < std::fabs(newest - commanded_[i])) seen_[i] = before;
    }
    newest_[i] = joint_pos[i];
  }
  sample_ns_ = sample_ns;
}

double SafeTargets::pose_of(std::size_t joint, double commanded) const noexcept {
  const double measured = nearest_turn(seen_[joint], commanded, turns_[joint]);
  return std::fabs(commanded - measured) <= kFollowedRad ? commanded : measured;
}

void SafeTargets::capture() noexcept {
  if (!holds_ || !sample_ns_) return;
  const auto position = targets.position();
  for (std::size_t i = 0; i < low_.size(); ++i) {
    const double commanded = std::isnan(commanded_[i]) ? seen_[i] : commanded_[i];
    const double pose = pose_of(i, commanded);
    const double begin = known ? commanded : pose;
    const double held = clip(pose, minimum(low_[i], begin), maximum(high_[i], begin));
    position[i] = step_.within(i, held);
    goal_[i] = within_limits(i, held);
    measured_[i] = seen_[i];
  }
  requested = known = true;
}

void SafeTargets::hold() noexcept {
  if (!known) {
    capture();
  } else if (holds_ && sample_ns_) {
    const auto position = targets.position();
    for (std::size_t i = 0; i < low_.size(); ++i) {
      goal_[i] = within_limits(i, pose_of(i, position[i]));
    }
  }
}

void SafeTargets::watch(Span joint_pos, const JointCheck& check, std::int64_t gap_ns,
                        bool is_stale) noexcept {
  if (!holds_) return;
  if (is_stale) {
    lost_ = true;
    const auto* doubted = check.lost ? check.doubted() : nullptr;
    if (doubted && has_moved({const_cast<double*>(doubted->data()), doubted->size()})) {
      known = false;
    }
  } else if (is_pose(joint_pos)) {
    if (requested && (lost_ || !known)) {
      if (check.replaced == replaced_ && has_moved(joint_pos)) hold();
      known = true;
    }
    lost_ = false;
    replaced_ = check.replaced;
    std::copy(joint_pos.begin(), joint_pos.end(), measured_.begin());
  }
  if (!known) return;
  const auto position = targets.position();
  const std::int64_t zero = 0;
  const auto passed_ns = static_cast<double>(std::min(std::max(gap_ns, zero), period_ns_));
  for (std::size_t i = 0; i < low_.size(); ++i) {
    const double stride = speed_[i] * passed_ns;
    position[i] += clip(goal_[i] - position[i], -stride, stride);
    commanded_[i] = position[i];
  }
}

bool SafeTargets::has_moved(Span joint_pos) noexcept {
  if (!is_pose(joint_pos)) return false;
  for (std::size_t i = 0; i < low_.size(); ++i) {
    const double moved = nearest_turn(joint_pos[i], measured_[i], turns_[i]) - measured_[i];
    if (is_far(joint_pos, i) && std::fabs(moved) > tolerance_[i]) return true;
  }
  return false;
}

bool SafeTargets::is_far(Span joint_pos, std::size_t joint) noexcept {
  const double held = targets.position()[joint];
  return std::fabs(nearest_turn(joint_pos[joint], held, turns_[joint]) - held) > tolerance_[joint];
}

bool SafeTargets::is_pose(Span joint_pos) const noexcept {
  for (double value : joint_pos) {
    if (!std::isfinite(value)) return false;
  }
  for (double value : joint_vel_) {
    if (!std::isfinite(value)) return false;
  }
  return true;
}

}  // namespace policy_core
