// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/joint_check.hpp"

#include <algorithm>

namespace policy_core {
namespace {

// Explained in `policy_core.guard.joint_check`.
constexpr std::int64_t kJitterNs = 5'000'000, kForgottenNs = 500'000'000;
constexpr double kNoiseRad = 0.02;

}  // namespace

JointCheck::JointCheck(const Part& plan)
    : turns_(plan.numbers("turns")),
      speed_(plan.numbers("speed", static_cast<std::int64_t>(turns_.size()))),
      farthest_(plan.numbers("farthest", static_cast<std::int64_t>(turns_.size()))),
      centre_(plan.numbers("centre", static_cast<std::int64_t>(3 * turns_.size()))),
      half_(plan.numbers("half", static_cast<std::int64_t>(3 * turns_.size()))),
      longest_ns_(plan.count("longest_ns")),
      needed_(plan.count("needed")),
      believed_(turns_.size()),
      seen_(turns_.size()) {
  forget();
}

void JointCheck::forget() noexcept {
  believed_ns_.reset();
  seen_ns_ = agreeing_ = 0;
  lost = true;
  std::fill(believed_.begin(), believed_.end(), kNan);
  seen_ = believed_;
}

JointCheck::Problem JointCheck::judge(Span position, Span velocity, std::int64_t now_ns) noexcept {
  const auto joints = believed_.size();
  const auto gap_ns = now_ns - seen_ns_;
  seen_ns_ = now_ns;
  lost = lost || gap_ns > longest_ns_;
  if (gap_ns > std::max(kForgottenNs, longest_ns_)) agreeing_ = 0;
  bool is_near = true, is_possible = true, is_known = true;
  for (std::size_t i = 0; i < joints; ++i) {
    const double speed = velocity.size ? velocity[i] : 0.0;
    is_possible = is_possible && std::fabs(position[i] - centre_[i]) <= half_[i] &&
                  std::fabs(speed - centre_[joints + i]) <= half_[joints + i];
    is_near = is_near && std::fabs(position[i] - believed_[i]) <= half_[2 * joints + i];
    is_known = is_known && std::isfinite(position[i]) && std::isfinite(speed);
  }
  if (is_possible && is_near) {
    believe(position, now_ns);
    return {};
  }
  if (!is_possible) {
    agreeing_ = 0;
    return is_known ? beyond(position, velocity) : Problem{};
  }
  // At rest, a robot that was moved during an outage and a driver with wrong first values look the
  // same.
  const bool is_trusting = in_motion || !lost;
  const auto since_ns = is_trusting ? now_ns - believed_ns_.value_or(0) : 0;
  bool is_straight = true, is_turned = true;
  for (std::size_t i = 0; i < joints; ++i) {
    const double reach = reached(i, since_ns);
    is_straight = is_straight && std::fabs(position[i] - believed_[i]) <= reach;
    is_turned = is_turned && way(i, position[i], believed_[i]) <= reach;
  }
  if (is_straight || is_turned) {
    believe(position, now_ns);
    return {};
  }
  return confirm(position, since_ns, gap_ns, now_ns);
}

double JointCheck::reached(std::size_t joint, std::int64_t since_ns) const noexcept {
  const std::int64_t zero = 0;
  const double moved =
      minimum(speed_[joint] * seconds(std::max(zero, since_ns)), farthest_[joint]);
  return moved + speed_[joint] * seconds(kJitterNs) + kNoiseRad;
}

void JointCheck::believe(Span position, std::int64_t now_ns) noexcept {
  std::copy(position.begin(), position.end(), believed_.begin());
  believed_ns_ = seen_ns_ = now_ns;
  agreeing_ = 0;
  lost = false;
}

JointCheck::Problem JointCheck::beyond(Span position, Span velocity) const noexcept {
  const auto joints = believed_.size();
  for (std::size_t row = 0; row < 2; ++row) {
    for (std::size_t i = 0; i < joints; ++i) {
      const double found = row == 0 ? position[i] : velocity.size ? velocity[i] : 0.0;
      const double centre = centre_[row * joints + i], half = half_[row * joints + i];
      if (std::fabs(found - centre) <= half) continue;
      Problem problem;
      problem.code = Problem::Code::kBeyond;
      problem.place = i;
      problem.is_velocity = row == 1;
      problem.found = found;
      problem.low = centre - half;
      problem.high = centre + half;
      return problem;
    }
  }
  return {};
}

JointCheck::Problem JointCheck::confirm(Span position, std::int64_t since_ns, std::int64_t gap_ns,
                                        std::int64_t now_ns) noexcept {
  bool follows = agreeing_ > 0;
  double farthest = -kInf;
  std::size_t joint = 0;
  bool is_unknown = false;
  for (std::size_t i = 0; i < believed_.size(); ++i) {
    follows = follows && way(i, position[i], seen_[i]) <= reached(i, gap_ns);
    const double jump = way(i, position[i], believed_[i]) - reached(i, since_ns);
    // Like argmax, which returns the first NaN.
    if (!is_unknown && (jump > farthest || std::isnan(jump))) {
      farthest = jump;
      joint = i;
      is_unknown = std::isnan(jump);
    }
  }
  agreeing_ = follows ? agreeing_ + 1 : 1;
  std::copy(position.begin(), position.end(), seen_.begin());
  if (agreeing_ >= needed_ && !in_motion) {
    replaced += lost ? 0 : 1;
    believe(position, now_ns);
    return {};
  }
  Problem problem;
  problem.count = agreeing_;
  problem.needed = needed_;
  problem.code = believed_ns_ ? Problem::Code::kJump : Problem::Code::kUnconfirmed;
  problem.place = joint;
  problem.found = position[joint];
  problem.low = believed_[joint];
  return problem;
}

}  // namespace policy_core
