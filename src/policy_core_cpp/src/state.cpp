// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/state.hpp"

#include <algorithm>

namespace policy_core {

Phase::Phase(const Part& plan, Span out, Span command)
    : rate_(plan.number("rate")),
      period_s_(plan.number("period_s")),
      offsets_(plan.numbers("offsets")),
      out_(out),
      command_(command),
      is_commanded_(plan.has_part("standing")) {
  if (out.size != 2 * offsets_.size() || (is_commanded_ && command.size != 3)) {
    throw PlanError("plan: state: phases: expected sin and cos per foot, and a velocity command");
  }
  if (is_commanded_) {
    const auto standing = plan.at("standing");
    below_ = standing.number("below");
    if (standing.has("angle")) {
      shown_ = Shown::kAngle;
      standing_angle_ = standing.number("angle");
    } else if (standing.flag("zero")) {
      shown_ = Shown::kZero;
    }
    const auto& clock = standing.text("clock");
    standing_ = clock == "stops"      ? Standing::kStops
                : clock == "restarts" ? Standing::kRestarts
                                      : Standing::kRuns;
  }
  restart();
}

void Phase::restart() noexcept {
  tick_ = 0;
  write();
}

void Phase::advance() noexcept {
  const auto clock = is_commanded_ && stands() ? standing_ : Standing::kRuns;
  if (clock == Standing::kRuns) ++tick_;
  if (clock == Standing::kRestarts) tick_ = 0;
  write();
}

void Phase::write() noexcept {
  const auto shown = is_commanded_ && stands() ? shown_ : Shown::kClock;
  const auto feet = offsets_.size();
  const double now = rate_ * static_cast<double>(tick_) * period_s_;
  for (std::size_t foot = 0; foot < feet; ++foot) {
    if (shown == Shown::kZero) {
      out_[foot] = out_[feet + foot] = 0.0;
      continue;
    }
    const double angle = shown == Shown::kClock ? now + offsets_[foot] : standing_angle_;
    out_[foot] = std::sin(angle);
    out_[feet + foot] = std::cos(angle);
  }
}

bool Phase::stands() const noexcept {
  return length(command_) < below_;
}

RobotState::RobotState(const Part& plan, Span memory)
    : names_(plan.texts("names")), is_own_(plan.flag("is_own")) {
  std::size_t end = 0;
  for (auto size : plan.integers("sizes", static_cast<std::int64_t>(names_.size()))) {
    if (size < 0 || size > kMostValues - static_cast<std::int64_t>(end)) {
      throw PlanError("plan: state.sizes: expected 0 to " + std::to_string(kMostValues) +
                      " in all, found " + std::to_string(size));
    }
    starts_.push_back(end);
    sizes_.push_back(static_cast<std::size_t>(size));
    end += sizes_.back();
  }
  flat_ = memory;
  if (!flat_.data) {
    own_memory_.assign(end, kNan);
    flat_ = {own_memory_.data(), end};
  }
  if (flat_.size != end) throw PlanError("plan: state: memory of another size");
  const auto command = find("velocity_command", 3);
  std::fill(command.begin(), command.end(), 0.0);
  for (const auto& phase : plan.list("phases")) {
    phases_.push_back(std::make_unique<Phase>(phase, find(phase.text("field")), command));
    if (phases_.back()->is_commanded()) derived_.push_back(phases_.back().get());
  }
  if (plan.has_part("motion")) {
    motion_ = std::make_unique<ReferenceMotion>(
        plan.at("motion"), [this](const std::string& name) { return find(name); });
    derived_.push_back(motion_.get());
  }
  own_.push_back(find("last_action"));
  for (const auto& name : names_) {
    if (name.rfind("last_output:", 0) == 0) own_.push_back(find(name));
  }
  tick_ = find("tick");
  gravity_ = find("gravity_body", 3);
  quat_ = find("quat_xyzw", 4);
  if (gravity_.size && !quat_.size) throw PlanError("plan: state: expected quat_xyzw");
  restart();
}

Span RobotState::find(const std::string& name) noexcept {
  const auto found = std::find(names_.begin(), names_.end(), name);
  if (found == names_.end()) return {};
  return field(static_cast<std::size_t>(found - names_.begin()));
}

Span RobotState::find(const std::string& name, std::size_t size) {
  const auto found = find(name);
  if (found.data && found.size != size) {
    throw PlanError("plan: state: " + name + ": expected " + std::to_string(size) +
                    " values, found " + std::to_string(found.size));
  }
  return found;
}

void RobotState::restart() noexcept {
  for (const auto& field : own_) std::fill(field.begin(), field.end(), 0.0);
  if (tick_.size) tick_[0] = 0.0;
  for (const auto& clock : phases_) clock->restart();
  if (motion_) motion_->restart();
}

void RobotState::advance() noexcept {
  if (tick_.size) tick_[0] += 1.0;
  for (const auto& clock : phases_) clock->advance();
  if (motion_) motion_->advance();
}

void RobotState::derive() noexcept {
  if (gravity_.size) gravity_body(quat_, gravity_);
  derive_own();
}

void RobotState::derive_own() noexcept {
  for (auto* clock : derived_) clock->write();
}

std::uint64_t RobotState::not_finite() noexcept {
  std::uint64_t found = 0;
  for (std::size_t i = 0; i < std::min<std::size_t>(64, names_.size()); ++i) {
    if (!policy_core::is_finite(field(i))) found |= std::uint64_t{1} << i;
  }
  return found;
}

void gravity_body(Span quat_xyzw, Span out) noexcept {
  const double x = quat_xyzw[0], y = quat_xyzw[1], z = quat_xyzw[2], w = quat_xyzw[3];
  const double norm = x * x + y * y + z * z + w * w;
  const double scale = norm > 0.0 ? 2.0 / norm : kNan;
  out[0] = scale * (w * y - x * z);
  out[1] = -scale * (w * x + y * z);
  out[2] = scale * (x * x + y * y) - 1.0;
}

double tilt_rad(Span gravity) noexcept {
  // Like Python's max(-1, min(1, x)), which maps NaN to one of the ends.
  const double up = -gravity[2];
  const double below = up < 1.0 ? up : 1.0;
  return std::acos(below > -1.0 ? below : -1.0);
}

}  // namespace policy_core
