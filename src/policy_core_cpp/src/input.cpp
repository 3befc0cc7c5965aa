// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/input.hpp"

#include <algorithm>
#include <cstdlib>

namespace policy_core {
namespace {

// Explained in `policy_core.observation.freshness`.
constexpr std::int64_t kSoonestNs = -50'000'000, kLatestNs = 500'000'000;
constexpr std::int64_t kRestartAgainNs = 1'000'000'000;
constexpr std::int64_t kNotedStepNs = 20'000'000;
constexpr int kDriftShift = 10, kSlewShift = 3;

bool agrees_with(std::int64_t age_ns) { return kSoonestNs <= age_ns && age_ns <= kLatestNs; }

}  // namespace

Input::Input(const Part& plan)
    : name_(plan.text("name")),
      stops_all_(plan.flag("stops_all")),
      is_perceived_(plan.flag("is_perceived")) {
  if (plan.has("timeout_ns")) timeout_ns_ = plan.count("timeout_ns");
}

void Input::reset() noexcept {
  problem_ = 0;
  stepped_ = Stepped::kNone;
  step_ns_ = 0;
  measured_ns_.reset();
  repeats_ = 0;
  born_ns_.reset();
  came_ns_ = 0;
  stamp_ns_.reset();
  earlier_.reset();
  restarts_ = false;
  restarted_ns_.reset();
  refused_ = 0;
  refused_stamps_ = Refused::kNone;
  ahead_ns_ = 0;
  wall_ns_.reset();
  seen_wall_ns_ = 0;
}

bool Input::is_new(Time stamp_ns, std::int64_t now_ns) noexcept {
  const auto newest_ns = stamp_ns_;
  restarts_ = false;
  if (!stamp_ns || !newest_ns) return true;
  if (earlier_) restarts_ = goes_on_from(earlier_->first, earlier_->second, *stamp_ns, now_ns);
  if (restarts_ || *stamp_ns < *newest_ns) {
    earlier_ = {*stamp_ns, now_ns};
  } else if (*stamp_ns > *newest_ns) {
    earlier_.reset();
  }
  if (restarts_ || *stamp_ns > *newest_ns) return true;
  ++refused_;
  refused_stamps_ = *stamp_ns == *newest_ns ? Refused::kRepeat : Refused::kBackward;
  return false;
}

bool Input::goes_on_from(std::int64_t earlier_ns, std::int64_t came_ns, std::int64_t stamp_ns,
                         std::int64_t now_ns) const noexcept {
  if (restarted_ns_ && now_ns - *restarted_ns_ < kRestartAgainNs) return false;
  const auto expected_ns = stamp_ns_.value_or(0) + now_ns - came_ns_;
  const auto since_ns = stamp_ns - earlier_ns;
  return since_ns > 0 &&
         std::llabs(since_ns - (now_ns - came_ns)) < std::llabs(stamp_ns - expected_ns);
}

void Input::accept(std::int64_t now_ns, Time stamp_ns, std::int64_t ros_now_ns) noexcept {
  problem_ = 0;
  refused_ = 0;
  born_ns_ = measured_ns_ = now_ns;
  if (stamp_ns) {
    born_ns_ = now_ns - delay_ns(now_ns, *stamp_ns, ros_now_ns - now_ns);
    stamp_ns_ = stamp_ns;
    came_ns_ = now_ns;
  }
}

std::int64_t Input::delay_ns(std::int64_t now_ns, std::int64_t stamp_ns,
                             std::int64_t wall_ns) noexcept {
  const auto before_ns = stamp_ns_;
  auto since_ns = now_ns - came_ns_;
  auto ahead_ns = ahead_ns_;
  if (before_ns && std::llabs(wall_ns - seen_wall_ns_) > kNotedStepNs) {
    stepped_ = Stepped::kOurs;
    step_ns_ = wall_ns - seen_wall_ns_;
  }
  seen_wall_ns_ = wall_ns;
  const auto header_ns = header_age_ns(now_ns - stamp_ns, wall_ns);
  const bool agrees = agrees_with(header_ns);
  if (!before_ns) {
    since_ns = 0;
    ahead_ns = agrees ? wall_ns : stamp_ns - now_ns;
  } else if (restarts_) {
    ahead_ns = stamp_ns - now_ns;
  }
  // A right shift rounds down, also in C++ with all supported compilers.
  ahead_ns -= since_ns >> (header_ns >= kSoonestNs ? kDriftShift : kSlewShift);
  const auto late_ns = now_ns + ahead_ns - stamp_ns;
  ahead_ns_ = late_ns < 0 ? ahead_ns - late_ns : ahead_ns;
  if (before_ns && (restarts_ || late_ns < -kNotedStepNs)) {
    note_step(stamp_ns - *before_ns - since_ns, now_ns);
  }
  const std::int64_t zero = 0;
  measured_ns_ = now_ns - std::max(zero, agrees ? header_ns : late_ns);
  return std::max(zero, agrees ? std::min(late_ns, header_ns) : late_ns);
}

std::int64_t Input::header_age_ns(std::int64_t steady_age_ns, std::int64_t wall_ns) noexcept {
  if (wall_ns_ && agrees_with(steady_age_ns + *wall_ns_)) return steady_age_ns + *wall_ns_;
  const auto age_ns = steady_age_ns + wall_ns;
  if (agrees_with(age_ns)) wall_ns_ = wall_ns;
  return age_ns;
}

void Input::note_step(std::int64_t jump_ns, std::int64_t now_ns) noexcept {
  if (restarts_) {
    restarted_ns_ = now_ns;
    restarts_ = false;
  } else if (jump_ns <= kNotedStepNs) {
    return;
  }
  stepped_ = Stepped::kSenders;
  step_ns_ = jump_ns;
}

Time Input::age_ns(std::int64_t now_ns) const noexcept {
  return born_ns_ ? Time(now_ns - *born_ns_) : Time();
}

bool Input::is_stale(std::int64_t now_ns) const noexcept {
  if (!timeout_ns_) return false;
  return !born_ns_ || now_ns - *born_ns_ > *timeout_ns_;
}

}  // namespace policy_core
