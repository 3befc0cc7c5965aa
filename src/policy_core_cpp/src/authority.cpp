// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/authority.hpp"

#include <algorithm>
#include <cmath>

namespace policy_core {
namespace {

constexpr double number(Rest rest) { return static_cast<double>(rest); }

}  // namespace

Authority::Authority(const Part& plan, std::size_t joints)
    : step_(plan.number("step")),
      may_disable_(plan.flag("may_disable")),
      standing_(plan.numbers("standing", static_cast<std::int64_t>(6 * joints))),
      limp_(plan.numbers("limp", static_cast<std::int64_t>(6 * joints))),
      share_(joints, 1.0),
      wanted_(joints, 1.0),
      rest_(joints, 0.0),
      frozen_(standing_.begin(), standing_.begin() + static_cast<std::ptrdiff_t>(joints)),
      turn_(joints, 1.0),
      before_(standing_) {}

bool Authority::is_partial() const noexcept {
  const auto is_below = [](double value) { return value < 1.0; };
  return std::any_of(share_.begin(), share_.end(), is_below) ||
         std::any_of(wanted_.begin(), wanted_.end(), is_below);
}

double Authority::lowest() const noexcept {
  return *std::min_element(share_.begin(), share_.end());
}

void Authority::set(double share, Rest rest, const std::vector<bool>& joints, const Numbers& pose,
                    bool at_once) noexcept {
  const auto size = share_.size();
  for (std::size_t k = 0; k < before_.size(); ++k) {
    const auto i = k % size;
    if (joints[i] && (rest == Rest::kFreeze || rest_[i] != number(rest))) before_[k] = at_rest(k);
  }
  for (std::size_t i = 0; i < size; ++i) {
    if (!joints[i]) continue;
    if (rest == Rest::kFreeze || rest_[i] != number(rest)) turn_[i] = share_[i] >= 1.0 ? 1.0 : 0.0;
    rest_[i] = number(rest);
    frozen_[i] = pose[i];
    wanted_[i] = share;
  }
  if (at_once) begin();
}

double Authority::at_rest(std::size_t k) const noexcept {
  const auto joints = share_.size(), i = k % joints;
  double goal = rest_[i] == number(Rest::kDisable) ? limp_[k] : standing_[k];
  if (k < joints && rest_[i] == number(Rest::kFreeze)) goal = frozen_[i];
  return turn_[i] * goal + (1.0 - turn_[i]) * before_[k];
}

void Authority::begin() noexcept {
  std::copy(wanted_.begin(), wanted_.end(), share_.begin());
  std::fill(turn_.begin(), turn_.end(), 1.0);
}

void Authority::advance() noexcept {
  if (!is_partial()) return;
  for (std::size_t i = 0; i < share_.size(); ++i) {
    const double gap = wanted_[i] - share_[i];
    share_[i] = std::fabs(gap) <= step_ ? wanted_[i] : share_[i] + std::copysign(step_, gap);
    turn_[i] = std::min(turn_[i] + step_, 1.0);
  }
}

void Authority::mix(Targets& targets, const Command& action) noexcept {
  const auto joints = share_.size();
  auto& mixed = targets.block();
  for (std::size_t k = 0; k < 5 * joints; ++k) {
    const auto i = k % joints;
    const double rest = at_rest(k);
    mixed[k] = mixed[k] * share_[i] + (1.0 - share_[i]) * rest;
    if (k < joints && share_[i] < 1.0 && !action.is_posed(i)) mixed[k] = rest;
  }
}

}  // namespace policy_core
