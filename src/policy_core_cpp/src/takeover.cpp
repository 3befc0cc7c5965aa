// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/takeover.hpp"

#include <algorithm>
#include <cmath>

namespace policy_core {
namespace {

// Explained in `policy_core.members.chunk.takeover`.
constexpr std::int64_t kRestsTicks = 10;
constexpr double kStillS = 5.0;
using Code = Reason::Code;

}  // namespace

PersonTakeover::PersonTakeover(const Part& plan, RobotState& state,
                               const std::vector<Input>& inputs, ReadClock clock, void* context)
    : clock_(clock),
      context_(context),
      policy_(plan.at("policy"), state, inputs, clock, context),
      action_(policy_.action()),
      check_(plan.at("check")),
      bounds_(plan.at("bounds"), action_),
      places_(action_.places()),
      timeout_ns_(plan.count("timeout_ns")),
      blend_ticks_(plan.integer("blend_ticks", 1, kLargestInteger)),
      rate_hz_(plan.number("rate_hz")),
      tolerance_rad_(plan.number("tolerance_rad")),
      joint_pos_(state.find("joint_pos")),
      leader_pos_(state.find("leader_joint_pos")),
      at_rest_(joint_pos_.size),
      off_rad_(places_.size()),
      target_(places_.size()),
      bounded_(joint_pos_.size) {
  const auto leader = std::find_if(inputs.begin(), inputs.end(), [](const Input& each) {
    return each.name() == "leader/joint_states";
  });
  if (leader == inputs.end()) throw PlanError("plan: inputs: expected leader/joint_states");
  leader_ = &*leader;
  leader_place_ = static_cast<std::size_t>(leader - inputs.begin());
  if (leader_pos_.size != joint_pos_.size) {
    throw PlanError("plan: state: expected leader_joint_pos");
  }
  if (check_.joints() != joint_pos_.size) {
    throw PlanError("plan: parts with different numbers of joints");
  }
  // Finite before the first message; the input records if one has arrived.
  seen_ = action_.pose();
  std::copy(seen_.begin(), seen_.end(), leader_pos_.begin());
  action_.read(target_);
  from_ = target_;
}

void PersonTakeover::reset() noexcept {
  driver_ = Driver::kPolicy;
  begins_ = true;
  ran_ = false;
  change_.reset();
  changes_.reset();
  policy_.reset();
}

void PersonTakeover::pause(std::int64_t duration_ns) noexcept {
  policy_.pause(duration_ns);
  if (duration_ns > 0 && driver_ == Driver::kHandover) {
    ticks_ = 0;
  } else if (duration_ns > 0 && driver_ == Driver::kPerson) {
    rest(because(Code::kArmWasHeld));
  }
}

PersonTakeover::Answer PersonTakeover::infer() noexcept {
  begins_ = !ran_;
  if (policy_drives()) {
    const auto answer = policy_.infer();
    failure_ = policy_.failure();
    if (answer == Answer::kFinite && driver_ == Driver::kReturn) blend(policy_.target);
    return answer;
  }
  const auto now_ns = policy_.stand_by();
  if (leader_fails(now_ns) || !is_judged(now_ns)) {
    failure_.is_drop_out = true;
    return Answer::kNoTarget;
  }
  watch_still();
  if (driver_ == Driver::kHandover) {
    measure_off();
    const bool is_far = std::any_of(off_rad_.begin(), off_rad_.end(), [this](double off) {
      return std::fabs(off) > tolerance_rad_;
    });
    if (is_far || ticks_ < kRestsTicks) {
      action_.read(target_);
      bound(target_);
      return Answer::kFinite;
    }
    begin_blend(Driver::kPerson, Code::kPersonDrives);
  }
  for (std::size_t i = 0; i < places_.size(); ++i) {
    target_[i] = leader_pos_[static_cast<std::size_t>(places_[i])];
  }
  blend(target_);
  return Answer::kFinite;
}

Numbers& PersonTakeover::commit() noexcept {
  ran_ = true;
  change_ = changes_;
  changes_.reset();
  if (!policy_drives()) {
    action_.set(target_, joint_pos_);
    ++ticks_;
    return action_.command;
  }
  auto& command = policy_.commit();
  ++ticks_;
  if (driver_ == Driver::kReturn && ticks_ >= blend_ticks_) {
    driver_ = Driver::kPolicy;
    changes_ = because(Code::kPolicyDrives);
  }
  return command;
}

PersonTakeover::Refused PersonTakeover::take_over(Mode mode) noexcept {
  if (mode != Mode::kRun && mode != Mode::kHold) return Refused::kMode;
  if (!policy_drives()) return Refused::kAlready;
  const auto now_ns = clock_(context_);
  if (leader_fails(now_ns) || !begin_judging(now_ns)) return Refused::kLeader;
  std::copy(leader_pos_.begin(), leader_pos_.end(), seen_.begin());
  still_ticks_ = 0;
  begin(Driver::kHandover, Code::kPersonTakesOver);
  return Refused::kNo;
}

PersonTakeover::Refused PersonTakeover::hand_back(Mode mode) noexcept {
  if (mode != Mode::kRun && mode != Mode::kHold) return Refused::kMode;
  if (policy_drives()) return Refused::kAlready;
  begin(Driver::kReturn, Code::kPersonHandsBack);
  return Refused::kNo;
}

bool PersonTakeover::leader_fails(std::int64_t now_ns) noexcept {
  const auto age_ns = leader_->age_ns(now_ns);
  if (age_ns && *age_ns <= timeout_ns_) return false;
  failure_ = stale_reason(*leader_, leader_place_, now_ns);
  failure_.code = Code::kLeaderSilent;
  return true;
}

bool PersonTakeover::is_judged(std::int64_t now_ns) noexcept {
  // The leader was silent or the arm was held: the leader must match again, wherever it is.
  if (now_ns - judged_ns_ > timeout_ns_) return begin_judging(now_ns);
  judged_ns_ = now_ns;
  return judge(now_ns, false);
}

bool PersonTakeover::begin_judging(std::int64_t now_ns) noexcept {
  judged_ns_ = now_ns;
  check_.forget();
  judge(now_ns, true);
  if (!check_.doubted()) return false;
  check_.believe(leader_pos_, now_ns);
  return true;
}

bool PersonTakeover::judge(std::int64_t now_ns, bool begins) noexcept {
  using Found = JointCheck::Problem::Code;
  const auto problem = check_.judge(leader_pos_, {}, now_ns);
  if (problem.code == Found::kUnconfirmed) {  // after a first pose beyond a leader's range
    failure_ = because(Code::kLeaderUnconfirmed, static_cast<double>(problem.needed));
    failure_.count = problem.count;
    return false;
  }
  failure_ = because(problem.code == Found::kBeyond ? Code::kLeaderBeyond : Code::kLeaderJump,
                     problem.found);
  failure_.place = static_cast<std::int64_t>(problem.place);
  failure_.b = problem.low;
  failure_.c = problem.high;
  failure_.count = begins;
  return problem.code == Found::kNone;
}

void PersonTakeover::begin(Driver driver, Code change) noexcept {
  std::copy(action_.command.begin(), action_.command.end(), bounded_.begin());
  policy_.reset();
  action_.command = bounded_;
  if (driver == Driver::kHandover) {
    rest(because(change));
  } else {
    begin_blend(driver, change);
  }
}

void PersonTakeover::begin_blend(Driver driver, Code change) noexcept {
  driver_ = driver;
  changes_ = because(change);
  action_.read(from_);
  ticks_ = 0;
}

void PersonTakeover::rest(const Reason& change) noexcept {
  driver_ = Driver::kHandover;
  changes_ = change;
  ticks_ = 0;
  measure_off();
}

void PersonTakeover::measure_off() noexcept {
  for (std::size_t i = 0; i < places_.size(); ++i) {
    const auto joint = static_cast<std::size_t>(places_[i]);
    off_rad_[i] = leader_pos_[joint] - action_.command[joint];
  }
}

void PersonTakeover::watch_still() noexcept {
  if (std::equal(seen_.begin(), seen_.end(), leader_pos_.begin())) {
    ++still_ticks_;
    return;
  }
  double off_rad = 0.0;
  for (auto place : places_) {
    const auto joint = static_cast<std::size_t>(place);
    off_rad = maximum(off_rad, std::fabs(leader_pos_[joint] - seen_[joint]));
  }
  if (still_s() > kStillS && off_rad > tolerance_rad_) {
    auto frozen = because(Code::kLeaderWasFrozen, still_s());
    frozen.b = off_rad;
    rest(frozen);
  }
  std::copy(leader_pos_.begin(), leader_pos_.end(), seen_.begin());
  still_ticks_ = 0;
}

void PersonTakeover::blend(Numbers& target) noexcept {
  const double passed = std::min(
      1.0, static_cast<double>(ticks_ + 1) / static_cast<double>(blend_ticks_));
  const double share = passed * passed * (3.0 - 2.0 * passed);
  for (std::size_t i = 0; i < target.size(); ++i) {
    target[i] = from_[i] + share * (target[i] - from_[i]);
  }
  bound(target);
}

void PersonTakeover::bound(Numbers& target) noexcept {
  bounded_ = action_.command;
  bounds_.reset(bounded_);
  for (std::size_t i = 0; i < places_.size(); ++i) {
    bounded_[static_cast<std::size_t>(places_[i])] = target[i];
  }
  bounds_.apply(bounded_, joint_pos_, {at_rest_.data(), at_rest_.size()});
  for (std::size_t i = 0; i < places_.size(); ++i) {
    target[i] = bounded_[static_cast<std::size_t>(places_[i])];
  }
}

}  // namespace policy_core
