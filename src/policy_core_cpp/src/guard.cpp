// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/guard.hpp"

#include <algorithm>

namespace policy_core {
Reason because(Reason::Code code, double a) noexcept {
  Reason reason;
  reason.code = code;
  reason.a = a;
  return reason;
}

Reason said(std::int64_t text) noexcept {
  auto reason = because(Reason::Code::kText);
  reason.text = text;
  return reason;
}

std::vector<bool> flags(const Part& plan, const std::string& name, std::size_t size) {
  const auto& found = plan.integers(name, static_cast<std::int64_t>(size));
  return {found.begin(), found.end()};
}

Rule stale_rule(const Input& input) noexcept {
  if (!input.is_perceived()) return Rule::kStaleState;
  return input.problem() ? Rule::kInvalidPerception : Rule::kStalePerception;
}

Reason stale_reason(const Input& input, std::size_t place, std::int64_t now_ns) noexcept {
  const auto age_ns = input.age_ns(now_ns);
  auto reason = because(Reason::Code::kStale, age_ns ? static_cast<double>(*age_ns) : kNan);
  reason.place = static_cast<std::int64_t>(place);
  reason.text = input.problem();
  reason.count = input.refused();
  reason.stamps = static_cast<std::int64_t>(input.refused_stamps());
  return reason;
}

Command::Command(const Part& plan)
    : command(plan.numbers("command")),
      gains(plan.numbers("gains", static_cast<std::int64_t>(2 * command.size()))),
      healthy(plan.numbers("healthy", static_cast<std::int64_t>(2 * command.size()))),
      kinds_(plan.integers("kinds", static_cast<std::int64_t>(command.size()))) {
  all_posed_ = std::all_of(kinds_.begin(), kinds_.end(), [](auto kind) { return kind == 0; });
}

void Command::fill(Targets& targets) const noexcept {
  const auto count = joints();
  for (std::size_t i = 0; i < count; ++i) {
    for (std::size_t kind = 0; kind < 3; ++kind) {
      const bool is = static_cast<std::size_t>(kinds_[i]) == kind;
      // A product with 0, as in NumPy: it has the sign of the command.
      targets.row(kind)[i] = is ? command[i] : all_posed_ ? 0.0 : command[i] * 0.0;
    }
    targets.stiffness()[i] = gains[i];
    targets.damping()[i] = gains[count + i];
  }
}

TargetBounds::TargetBounds(const Part& plan, const Command& action)
    : margin_(plan.number("margin")),
      action_(action),
      joints_(action.command.size()),
      is_position_(flags(plan, "is_position", joints_)),
      is_effort_(flags(plan, "is_effort", joints_)),
      half_(plan.numbers("half", static_cast<std::int64_t>(3 * joints_))),
      centre_(plan.numbers("centre", static_cast<std::int64_t>(3 * joints_))),
      of_velocity_(joints_),
      per_unit_(joints_) {
  rescale();
}

void TargetBounds::rescale() noexcept {
  for (std::size_t i = 0; i < joints_; ++i) {
    const double stiffness = action_.gains[i], damping = action_.gains[joints_ + i];
    const double per_unit = is_effort_[i] ? 1.0 : is_position_[i] ? stiffness : damping;
    of_velocity_[i] = is_effort_[i] || is_position_[i] ? 0.0 : 1.0;
    if (is_position_[i] && stiffness > 0.0) of_velocity_[i] = damping / stiffness;
    const double demand = action_.healthy[i] * margin_;
    half_[i] = per_unit > 0.0 ? demand / per_unit : kInf;
    half_[joints_ + i] = action_.healthy[joints_ + i] * margin_;
  }
}

void TargetBounds::reset(const Numbers& pose) noexcept {
  for (std::size_t i = 0; i < joints_; ++i) {
    centre_[joints_ + i] = pose[i] * (is_position_[i] ? 1.0 : 0.0);
  }
}

Rules TargetBounds::apply(Numbers& command, Span joint_pos, Span joint_vel) noexcept {
  constexpr std::array<Rule, 3> kRows = {Rule::kEffort, Rule::kTargetStep, Rule::kPositionLimit};
  bool is_beyond = false;
  for (std::size_t i = 0; i < joints_; ++i) {
    const double centre = joint_vel[i] * of_velocity_[i];
    centre_[i] = centre + joint_pos[i] * (is_position_[i] ? 1.0 : 0.0);
  }
  for (std::size_t row = 0; row < 3; ++row) {
    for (std::size_t i = 0; i < joints_; ++i) {
      const auto at = row * joints_ + i;
      is_beyond = is_beyond || std::fabs(command[i] - centre_[at]) > half_[at];
    }
  }
  Rules acted = 0;
  for (std::size_t row = 0; is_beyond && row < 3; ++row) {
    bool acts = false;
    for (std::size_t i = 0; i < joints_; ++i) {
      const auto at = row * joints_ + i;
      acts = acts || std::fabs(command[i] - centre_[at]) > half_[at];
    }
    if (!acts) continue;
    for (std::size_t i = 0; i < joints_; ++i) {
      const auto at = row * joints_ + i;
      command[i] = clip(command[i], centre_[at] - half_[at], centre_[at] + half_[at]);
    }
    acted |= bit(kRows[row]);
  }
  std::copy(command.begin(), command.end(),
            centre_.begin() + static_cast<std::ptrdiff_t>(joints_));
  return acted;
}

StepBound::StepBound(const Part& plan)
    : stride_(plan.numbers("stride")),
      last_(stride_.size(), kNan),
      free_in_run_(flags(plan, "free_in_run", stride_.size())),
      acts_(plan.flag("acts")) {}

void StepBound::forget() noexcept { std::fill(last_.begin(), last_.end(), kNan); }

void StepBound::apply(Targets& targets) noexcept {
  if (!acts_) return;
  const auto position = targets.position(), stiffness = targets.stiffness();
  for (std::size_t i = 0; i < last_.size(); ++i) {
    position[i] = within(i, position[i]);
    if (targets.mode == Mode::kHold) continue;  // it repeats the previous command
    const bool is_free = targets.mode == Mode::kRun && free_in_run_[i];
    last_[i] = stiffness[i] > 0.0 && !is_free ? position[i] : kNan;
  }
}

CommandedVector::CommandedVector(const Part& plan, std::int64_t ramp_ns, Span out,
                                 std::size_t place)
    : low_(plan.numbers("low", static_cast<std::int64_t>(out.size))),
      high_(plan.numbers("high", static_cast<std::int64_t>(out.size))),
      default_(plan.numbers("default", static_cast<std::int64_t>(out.size))),
      timeout_ns_(plan.integer("timeout_ns")),
      ramp_ns_(ramp_ns),
      out_(out),
      place_(place),
      wanted_(default_) {
  std::copy(default_.begin(), default_.end(), out_.begin());
}

Rules CommandedVector::update(const Input& source, std::int64_t now_ns) noexcept {
  Rules acted = take(source);
  const auto age_ns = source.age_ns(now_ns);
  const auto late_ns = age_ns ? *age_ns - timeout_ns_ : -1;
  if (late_ns > 0 && !fading_) acted |= bit(Rule::kStaleCommand);
  fading_ = late_ns > 0;
  const bool is_over = !age_ns || late_ns >= std::max<std::int64_t>(ramp_ns_, 1);
  const double share =
      late_ns > 0 && !is_over ? 1.0 - static_cast<double>(late_ns) / static_cast<double>(ramp_ns_)
                              : 1.0;
  for (std::size_t i = 0; i < out_.size; ++i) {
    out_[i] = is_over        ? default_[i]
              : late_ns <= 0 ? wanted_[i]
                             : default_[i] + (wanted_[i] - default_[i]) * share;
  }
  return acted;
}

Rules CommandedVector::take(const Input& source) noexcept {
  if (source.measured_ns() == taken_ns_) return 0;
  taken_ns_ = source.measured_ns();
  if (!taken_ns_) return 0;
  if (!is_finite(out_)) return bit(Rule::kBadCommand);
  for (std::size_t i = 0; i < out_.size; ++i) wanted_[i] = clip(out_[i], low_[i], high_[i]);
  return 0;
}

CommandFader::CommandFader(const Part& plan, std::int64_t timeout_ns, std::int64_t ramp_ns,
                           Span out)
    : low_(plan.numbers("low", 3)),
      high_(plan.numbers("high", 3)),
      timeout_ns_(timeout_ns),
      ramp_ns_(ramp_ns),
      out_(out),
      wanted_(3) {
  reset();
}

void CommandFader::reset() noexcept {
  std::fill(wanted_.begin(), wanted_.end(), 0.0);
  born_ns_.reset();
  fading_ = false;
  std::fill(out_.begin(), out_.end(), 0.0);
}

bool CommandFader::set(const std::array<double, 3>& velocity, std::int64_t born_ns) noexcept {
  for (double value : velocity) {
    if (!std::isfinite(value)) return false;
  }
  if (closed_) return true;
  born_ns_ = born_ns;
  for (std::size_t i = 0; i < 3; ++i) {
    wanted_[i] = std::min(std::max(velocity[i], low_[i]), high_[i]);
  }
  return true;
}

void CommandFader::narrow(const std::array<double, 3>& low,
                          const std::array<double, 3>& high) noexcept {
  for (std::size_t i = 0; i < 3; ++i) {
    low_[i] = std::max(low_[i], low[i]);
    high_[i] = std::min(high_[i], high[i]);
  }
}

void CommandFader::close(std::int64_t now_ns) noexcept {
  closed_ = fading_ = true;
  if (born_ns_) born_ns_ = std::min(*born_ns_, now_ns - timeout_ns_);
}

Rules CommandFader::update(const std::vector<Input>& inputs, std::int64_t now_ns) noexcept {
  Rules acted = update_velocity(now_ns) ? bit(Rule::kStaleCommand) : 0;
  for (auto& vector : vectors) acted |= vector.update(inputs[vector.place()], now_ns);
  return acted;
}

bool CommandFader::update_velocity(std::int64_t now_ns) noexcept {
  if (!out_.size || !born_ns_) return false;
  if (now_ns < *born_ns_) {
    reset();
    return true;
  }
  const auto late_ns = now_ns - *born_ns_ - timeout_ns_;
  const bool began = late_ns > 0 && !fading_;
  fading_ = late_ns > 0;
  double share = 1.0;
  if (late_ns > 0) {
    share = late_ns >= ramp_ns_
                ? 0.0
                : 1.0 - static_cast<double>(late_ns) / static_cast<double>(ramp_ns_);
  }
  for (std::size_t i = 0; i < 3; ++i) {
    out_[i] = late_ns <= 0 ? wanted_[i] : late_ns >= ramp_ns_ ? 0.0 : wanted_[i] * share;
  }
  return began;
}

}  // namespace policy_core
