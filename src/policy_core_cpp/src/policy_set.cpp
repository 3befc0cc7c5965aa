// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/policy_set.hpp"

#include <algorithm>

namespace policy_core {
namespace {

/// The states that failed in a tick are stored as bits.
constexpr std::size_t kMostStates = 64;
using Why = Reason::Why;

/// A switch with a reason, without its states.
Reason switched(Why why) {
  Reason reason;
  reason.code = Reason::Code::kSwitched;
  reason.why = why;
  return reason;
}

/// A switch because a member failed.
Reason switched(const Reason& failure) {
  auto reason = failure;
  reason.why = Why::kFailed;
  reason.failed = failure.code;
  reason.code = Reason::Code::kSwitched;
  return reason;
}

void take(const Numbers& flat, const Integers& places, Numbers& into) noexcept {
  for (std::size_t i = 0; i < places.size(); ++i) {
    into[i] = flat[static_cast<std::size_t>(places[i])];
  }
}

std::size_t joints_of(const Part& plan) { return plan.numbers("stand").size(); }

void check_joints(const std::string& whose, std::size_t found, std::size_t expected) {
  if (found == expected) return;
  throw PlanError("plan: " + whose + ": expected " + std::to_string(expected) +
                  " joints, found " + std::to_string(found));
}

/// A number of values of an array, from an index on.
Span part_of(Span values, std::int64_t start, std::size_t size) {
  if (size > values.size || start > static_cast<std::int64_t>(values.size - size)) {
    throw PlanError("plan: expected " + std::to_string(size) + " values from the place " +
                    std::to_string(start) + " on, found " + std::to_string(values.size));
  }
  return {values.data + start, size};
}

}  // namespace

const policy_core_runner& model_of(const Models& models, const std::string& name) {
  for (const auto& [each, runner] : models) {
    if (each == name) return *runner;
  }
  throw PlanError("plan: expected a model named '" + name + "' (empty: that of a single policy)");
}

Member::Member(const Part& plan, RobotState& sensed, Numbers& targets, std::size_t joints)
    : name_(plan.text("name")),
      places_(plan.places("places", joints)),
      state_(plan.at("state")),
      every_(plan.integer("every", 1, kLargestInteger)),
      parts_(plan.integer("parts", 1, every_)),
      is_followed_(plan.flag("is_followed")),
      sensed_(sensed.flat()) {
  command_ = part_of({targets.data(), targets.size()}, plan.count("start"), places_.size());
  for (const auto& part : plan.list("sensed")) {
    const auto& index = part.places("index", sensed_.size);
    const auto into = part_of(state_.flat(), part.count("start"), index.size());
    sensed_parts_.emplace_back(index, into);
  }
}

void Member::check_joints_of(Policy& policy) const {
  check_joints(name_, policy.action().joints(), places_.size());
}

void Member::reset() noexcept {
  wait_ = 0;
  has_answered_ = false;
}

void Member::enter(const Numbers& command) noexcept {
  if (is_followed_) {
    follow(command);
  } else {
    reset();
  }
}

void Member::look() noexcept {
  for (const auto& [index, into] : sensed_parts_) {
    for (std::size_t i = 0; i < index.size(); ++i) {
      into[i] = sensed_[static_cast<std::size_t>(index[i])];
    }
  }
}

void Member::pass() noexcept {
  if (wait_ <= 0) wait_ += every_;
  wait_ -= parts_;
}

JointMember::JointMember(const Part& plan, RobotState& sensed, std::vector<Input>& inputs,
                         const Models& models, Numbers& targets, std::size_t joints)
    : Member(plan, sensed, targets, joints),
      watches_(plan.flag("watches")),
      policy_(plan.at("policy"), state_, model_of(models, name_)),
      motion_(state_.motion()),
      last_action_(state_.find("last_action")),
      commanded_(places_.size()),
      lowest_(plan.numbers("lowest", 3)),
      highest_(plan.numbers("highest", 3)) {
  check_joints_of(policy_);
  for (auto place : plan.places("own_inputs", inputs.size())) {
    const auto at = static_cast<std::size_t>(place);
    own_inputs_.emplace_back(&inputs[at], at);
  }
  if (plan.flag("narrows")) velocity_ = state_.find("velocity_command");
  reset();
}

void JointMember::reset() noexcept {
  Member::reset();
  policy_.reset();
}

void JointMember::follow(const Numbers& command) noexcept {
  take(command, places_, commanded_);
  policy_.decoder().raw_of(commanded_, last_action_);
}

Policy::Answer JointMember::infer(std::int64_t now_ns) noexcept {
  for (const auto& [input, place] : own_inputs_) {
    if (!input->is_stale(now_ns)) continue;
    failure_ = stale_reason(*input, place, now_ns);
    return Policy::Answer::kNoTarget;
  }
  look();
  const auto answer = policy_.infer();
  failure_ = policy_.failure();
  has_answered_ = has_answered_ || answer != Policy::Answer::kError;
  return answer;
}

Span JointMember::first_target() noexcept {
  auto& found = policy_.decoder().decode();
  return {found.data(), found.size()};
}

Rules JointMember::commit() noexcept {
  Rules clipped = 0;
  if (has_answered_) {
    const auto& command = policy_.commit();
    std::copy(command.begin(), command.end(), command_.begin());
    clipped = policy_.action().clipped;
    has_answered_ = false;
  }
  pass();
  return clipped;
}

void JointMember::rest() noexcept {
  if (is_due()) {
    look();
    policy_.watch();
  }
  pass();
}

void JointMember::look() noexcept {
  Member::look();
  for (std::size_t i = 0; i < velocity_.size; ++i) {
    velocity_[i] = clip(velocity_[i], lowest_[i], highest_[i]);
  }
  state_.derive_own();
}

/// The display value of a failed condition: NaN means that it holds.
static double shown(double value) noexcept {
  return std::isnan(value) ? kInf : value;
}

EntryCheck::EntryCheck(const Part& plan, RobotState& state,
                       std::vector<std::unique_ptr<Member>>& members, std::size_t joints)
    : ticks_(plan.integer("ticks")),
      needs_target_(plan.flag("needs_target")),
      joints_(plan.places("joints", joints)),
      posed_(plan.places("posed", joints)),
      within_(plan.numbers("within", static_cast<std::int64_t>(joints))),
      joint_pos_(state.find("joint_pos", joints)),
      joint_vel_(state.find("joint_vel", joints)),
      gravity_(state.find("gravity_body")),
      rate_(state.find("ang_vel_body", 3)),
      command_(state.find("velocity_command")) {
  const auto size = static_cast<std::int64_t>(joints);
  if (plan.has("pose")) pose_ = plan.numbers("pose", size);
  if (plan.has("joint_speed")) {
    speed_ = plan.numbers("joint_speed", size);
    if (!joint_vel_.size) throw PlanError("plan: state: expected joint_vel");
  }
  if (plan.has("command")) command_limit_ = plan.numbers("command", 3);
  if (plan.has("tilt_rad")) tilt_ = plan.number("tilt_rad");
  if (plan.has("body_rate_rad_s")) body_rate_ = plan.number("body_rate_rad_s");
  if (plan.has("gait_phase")) {
    const auto& gait = plan.numbers("gait_phase", 2);
    gait_ = {gait[0], gait[1]};
    phases_ = members[plan.place("phase_member", members.size())]->phases(plan.text("phase_field"));
    if (phases_.size < 2) throw PlanError("plan: expected a phase, found no such field");
  }
}

bool EntryCheck::holds(std::int64_t ticks, Refusal& found) noexcept {
  bool holds = true;
  if (ticks < ticks_) {
    found.ticks = ticks;
    holds = false;
  }
  if (!pose_.empty()) holds = near(pose_, found) && holds;
  if (!speed_.empty()) {
    for (auto place : joints_) {
      const auto i = static_cast<std::size_t>(place);
      const double speed = std::fabs(joint_vel_[i]);
      if (speed <= speed_[i]) continue;
      found.speed[i] = shown(speed);
      holds = false;
    }
  }
  if (tilt_ && gravity_.size) {
    const double tilt = tilt_rad(gravity_);
    if (!(tilt <= *tilt_)) {
      found.tilt = shown(tilt);
      holds = false;
    }
  }
  if (body_rate_ && rate_.size) {
    const double rate = length(rate_);
    if (!(rate <= *body_rate_)) {
      found.body_rate = shown(rate);
      holds = false;
    }
  }
  for (std::size_t i = 0; !command_limit_.empty() && i < command_.size; ++i) {
    const double value = std::fabs(command_[i]);
    if (value <= command_limit_[i]) continue;
    found.command[i] = shown(value);
    holds = false;
  }
  if (gait_) {
    constexpr double kTurn = 2.0 * 3.141592653589793;
    double phase = std::fmod(std::atan2(phases_[0], phases_[phases_.size / 2]) / kTurn, 1.0);
    if (phase < 0.0) phase += 1.0;
    const auto [begin, end] = *gait_;
    const bool is_within =
        begin <= end ? begin <= phase && phase <= end : phase >= begin || phase <= end;
    if (!is_within) {
      found.phase = shown(phase);
      holds = false;
    }
  }
  return holds;
}

bool EntryCheck::target_holds(const Numbers& target, Refusal& found) noexcept {
  return near(target, found);
}

bool EntryCheck::near(const Numbers& pose, Refusal& found) noexcept {
  bool is_near = true;
  for (auto place : posed_) {
    const auto i = static_cast<std::size_t>(place);
    const double off = std::fabs(joint_pos_[i] - pose[i]);
    if (off <= within_[i]) continue;
    found.off[i] = shown(off);
    is_near = false;
  }
  return is_near;
}

bool CommandingState::has(const Member* member) const noexcept {
  return std::find(members.begin(), members.end(), member) != members.end();
}

CommandingState::Transition* CommandingState::transition(std::int64_t to) noexcept {
  for (auto& each : transitions) {
    if (each.to == to) return &each;
  }
  return nullptr;
}

void CommandingState::check_transitions() {
  const auto check = [&](std::int64_t to) {
    if (to < 0 || transition(to)) return;
    throw PlanError("plan: states: " + name + ": expected a transition to state " +
                    std::to_string(to) + ", which follows it, found none");
  };
  check(way_back);
  check(ends_to);
  for (const auto& each : transitions) check(each.timeout_state);
}

bool CommandingState::ends_now(std::int64_t ticks) const noexcept {
  if (ends_to < 0) return false;
  if (ends_after >= 0) return ticks >= ends_after;
  return std::all_of(ending.begin(), ending.end(), [](const Member* member) {
    return member->is_due() && member->has_ended();
  });
}

PolicySet::PolicySet(const Part& plan, RobotState& state, std::vector<Input>& inputs,
                     const Models& models, ReadClock clock, void* context)
    : clock_(clock),
      context_(context),
      flat_(plan.numbers("flat")),
      stand_(plan.numbers("stand")),
      action_(plan.at("action")),
      from_(plan.at("action")),
      before_(joints_of(plan)),
      first_targets_(joints_of(plan)) {
  check_joints("action", action_.joints(), before_.size());
  refused_.off.resize(before_.size());
  refused_.speed.resize(before_.size());
  clear(refused_);
  found_ = refused_;
  refusals_.fill(refused_);
  std::fill(from_.command.begin(), from_.command.end(), 0.0);
  for (const auto& member : plan.list("members")) {
    if (member.at("policy").has_part("queue")) {
      const auto number = static_cast<std::int64_t>(members_.size());
      members_.push_back(std::make_unique<ChunkMember>(member, state, inputs, flat_,
                                                       before_.size(), number, now_ns_));
    } else {
      members_.push_back(
          std::make_unique<JointMember>(member, state, inputs, models, flat_, before_.size()));
    }
  }
  const auto named = [&](const Part& part, const char* name) {
    std::vector<Member*> found;
    for (auto place : part.places(name, members_.size())) {
      found.push_back(members_[static_cast<std::size_t>(place)].get());
    }
    return found;
  };
  const auto joints = static_cast<std::int64_t>(before_.size());
  const auto parts = plan.list("states");
  if (parts.size() > kMostStates) throw PlanError("plan: expected at most 64 states");
  const auto last = static_cast<std::int64_t>(parts.size()) - 1;
  for (const auto& part : parts) {
    const auto held = static_cast<std::int64_t>(part.integers("held").size());
    CommandingState each{part.text("name"),
                         named(part, "members"),
                         part.integer("way_back", -1, last),
                         part.integer("fallback", -1, last),
                         part.count("fallback_blend_ticks"),
                         part.integer("ends_to", -1, last),
                         part.integer("ends_after"),
                         part.flag("may_stand"),
                         named(part, "ending"),
                         part.places("sources", flat_.size(), joints),
                         part.places("held", before_.size()),
                         part.numbers("held_low", held),
                         part.numbers("held_high", held),
                         part.numbers("rows.gains", 2 * joints),
                         part.numbers("rows.healthy", 2 * joints),
                         {}};
    for (const auto& to : part.list("transitions")) {
      each.transitions.push_back({to.integer("to", 0, last), to.count("blend_ticks"),
                                  to.integer("ticks"), to.integer("timeout_state", -1, last),
                                  to.flag("waits"),
                                  EntryCheck(to.at("check"), state, members_, before_.size())});
    }
    each.check_transitions();
    states_.push_back(std::move(each));
  }
  initial_ = state_ = &states_[plan.place("initial", states_.size())];
  reset();
}

void PolicySet::reset() noexcept {
  std::copy(stand_.begin(), stand_.end(), action_.command.begin());
  action_.gains = initial_->gains;
  action_.healthy = initial_->healthy;
  for (auto& member : members_) member->reset();
  state_ = initial_;
  left_ = nullptr;
  set_running();
  settle();
  ticks_ = ticks_in_state_ = 0;
  unanswered_ = returning_ = false;
  request_.reset();
  clear(refused_);
  change_.reset();
  entered_.reset();
}

void PolicySet::go_on_in(std::int64_t state, std::int64_t left) noexcept {
  state_ = &at(state);
  left_ = left < 0 ? nullptr : &at(left);
}

bool PolicySet::is_running(const Member* member) const noexcept {
  return state_->has(member) || (left_ && left_->has(member));
}

void PolicySet::pause(std::int64_t duration_ns) noexcept {
  for (auto& member : members_) {
    if (is_running(member.get())) member->pause(duration_ns);
  }
}

const Refusal& PolicySet::ask(std::int64_t to) noexcept {
  clear(found_);
  found_.to = to;
  found_.code = Refusal::Code::kSame;
  if (to == number(state_)) return found_;
  auto* transition = state_->transition(to);
  found_.code = Refusal::Code::kNoTransition;
  if (!transition) return found_;
  if (!transition->waits && !conditions_hold(to)) return found_;
  if (request_ && request_->to != to) {
    clear(found_);
    found_.code = Refusal::Code::kInstead;
    found_.to = request_->to;
    found_.other = to;
    note(found_);
  }
  request_ = {to, Why::kAskedFor, transition->waits ? transition->ticks : 1,
              transition->timeout_state};
  returning_ = false;
  clear(refused_);
  clear(found_);
  return found_;
}

void PolicySet::go_back() noexcept {
  returning_ = true;
  request_.reset();
}

void PolicySet::stop() noexcept {
  request_.reset();
  returning_ = false;
  settle();
}

Policy::Answer PolicySet::infer() noexcept {
  const auto began_ns = now_ns_ = clock_(context_);
  begins_ = ticks_ == 0;
  for (auto& member : members_) {
    if (member->watches() && !is_running(member.get()) && member->is_due()) {
      member->follow(action_.command);
    }
  }
  if (unanswered_) {
    for (auto& member : members_) member->drop_answer();
    act_on_lateness();
  }
  unanswered_ = true;
  left_ns_ = 0;
  decide();
  const auto answer = run();
  infer_ns_ = clock_(context_) - began_ns;
  return answer;
}

Numbers& PolicySet::commit() noexcept {
  unanswered_ = false;
  change_ = entered_;
  entered_.reset();
  Rules clipped = 0;
  for (auto& member : members_) {
    if (!is_running(member.get())) continue;
    const auto found = member->commit();
    if (found) clipped = found;
  }
  for (auto& member : members_) {
    if (member->watches() && !is_running(member.get())) member->rest();
  }
  action_.clipped = clipped;
  action_.is_rescaled = false;
  if (blend_ticks_ || !state_->held.empty()) before_ = action_.command;
  if (blend_ticks_) {
    blend();
  } else {
    take(flat_, state_->sources, action_.command);
    bound_held();
    if (!settled_) {
      settled_ = true;
      action_.gains = state_->gains;
      action_.healthy = state_->healthy;
      action_.is_rescaled = true;
    }
  }
  ++ticks_;
  ++ticks_in_state_;
  return action_.command;
}

std::int64_t PolicySet::place_of(const Member* member) const noexcept {
  std::int64_t place = 0;
  for (const auto& each : members_) {
    if (each.get() == member) return place;
    ++place;
  }
  return -1;
}

void PolicySet::decide() noexcept {
  Request request;
  if (request_) {
    request = *request_;
  } else if (!own_request(request)) {
    return;
  }
  request_ = request;
  bool may = conditions_hold(request.to);
  if (may) {
    // A followed member keeps its own rhythm, and is due in one of the next ticks.
    for (auto* member : at(request.to).members) {
      if (!is_running(member) && member->is_followed() && !member->is_due()) return;
    }
    may = may_enter(request.to);
    if (!may) {
      for (auto* member : at(request.to).members) {
        if (!is_running(member)) member->drop_answer();
      }
    }
  }
  if (may) {
    enter(request.to, switched(request.why), state_->transition(request.to)->blend_ticks);
    return;
  }
  refused_ = found_;
  if (request.ticks < 0) return;
  --request_->ticks;
  if (request.ticks <= 1) give_up(request);
}

bool PolicySet::own_request(Request& request) noexcept {
  if (returning_) {
    if (state_->way_back < 0) {
      returning_ = false;
      return false;
    }
    request = {state_->way_back, Why::kWayBack, -1, -1};
    return true;
  }
  if (!state_->ends_now(ticks_in_state_)) return false;
  request = {state_->ends_to, Why::kEnded, -1, -1};
  return true;
}

void PolicySet::give_up(const Request& request) noexcept {
  request_.reset();
  auto& refusal = note(refused_);
  refusal.is_given_up = true;
  refusal.state = number(state_);
  if (request.timeout_state >= 0) request_ = {request.timeout_state, Why::kWaited, -1, -1};
}

bool PolicySet::conditions_hold(std::int64_t to) noexcept {
  clear(found_);
  found_.to = to;
  found_.other = number(state_);
  found_.code = Refusal::Code::kBlending;
  if (blend_ticks_) return false;
  found_.code = Refusal::Code::kNone;
  if (state_->transition(to)->check.holds(ticks_in_state_, found_)) return true;
  found_.code = Refusal::Code::kConditions;
  return false;
}

bool PolicySet::may_enter(std::int64_t to) noexcept {
  auto& state = at(to);
  auto& check = state_->transition(to)->check;
  clear(found_);
  found_.other = number(state_);
  const auto refuse = [&](Refusal::Code code, const Member* member) {
    found_.code = code;
    found_.to = to;
    found_.member = member ? place_of(member) : -1;
    return false;
  };
  for (auto* member : state.members) {
    if (is_running(member)) continue;
    member->enter(action_.command);
    const auto answer = member->infer(now_ns_);
    if (answer == Answer::kError || answer == Answer::kNoTarget) {
      found_.failure = member->failure();
      found_.failure.member = place_of(member);
      return refuse(answer == Answer::kError ? Refusal::Code::kModelError : Refusal::Code::kStale,
                    member);
    }
    if (answer == Answer::kNotFinite) return refuse(Refusal::Code::kNotFinite, member);
    const auto target = member->first_target(), command = member->command();
    if (!is_finite(target)) return refuse(Refusal::Code::kNotFinite, member);
    for (std::size_t i = 0; i < target.size; ++i) command[i] = target[i];
  }
  if (!check.needs_target()) return true;
  take(flat_, state.sources, first_targets_);
  if (check.target_holds(first_targets_, found_)) return true;
  return refuse(Refusal::Code::kFirstTarget, nullptr);
}

void PolicySet::enter(std::int64_t to, const Reason& why, std::int64_t blend_ticks) noexcept {
  auto* before = state_;
  left_ = blend_ticks_ ? nullptr : before;
  if (!left_) {
    freeze();
  } else {
    from_.gains = before->gains;
    from_.healthy = before->healthy;
  }
  state_ = &at(to);
  set_running();
  blend_ticks_ = blend_ticks;
  blended_ticks_ = ticks_in_state_ = 0;
  request_.reset();
  clear(refused_);
  step_ratio_ = 0.0;
  ++switches_;
  entered_ = why;
  entered_->from = number(before);
  entered_->to = to;
  last_ = entered_;
}

void PolicySet::freeze() noexcept {
  left_ = nullptr;
  from_.command = action_.command;
  from_.gains = action_.gains;
  from_.healthy = action_.healthy;
}

void PolicySet::bound_held() noexcept {
  for (std::size_t i = 0; i < state_->held.size(); ++i) {
    const auto joint = static_cast<std::size_t>(state_->held[i]);
    const double before = before_[joint];
    action_.command[joint] = before + clip(action_.command[joint] - before, state_->held_low[i],
                                           state_->held_high[i]);
  }
}

void PolicySet::set_running() noexcept {
  for (auto& member : members_) {
    if (!is_running(member.get())) member->drop_answer();
  }
}

void PolicySet::settle() noexcept {
  blend_ticks_ = blended_ticks_ = 0;
  settled_ = false;
}

bool PolicySet::fall_back(Reason why) noexcept {
  if (state_->fallback < 0) return false;
  const auto to = state_->fallback, blend_ticks = state_->fallback_blend_ticks;
  for (auto* member : at(to).members) {
    if (!is_running(member)) member->enter(action_.command);
    member->run_now();
  }
  // The blend begins at the last command, since the member that produced it has failed.
  blend_ticks_ = 1;
  enter(to, why, blend_ticks);
  ++fallbacks_;
  return true;
}

void PolicySet::act_on_lateness() noexcept {
  const bool is_left = 2 * left_ns_ > infer_ns_;
  if (left_ && (is_left || state_->fallback < 0)) {
    leave_out();
  } else {
    fall_back(switched(Why::kLate));
  }
}

void PolicySet::leave_out() noexcept {
  freeze();
  blend_ticks_ -= blended_ticks_;
  blended_ticks_ = 0;
  set_running();
}

Policy::Answer PolicySet::run() noexcept {
  std::uint64_t tried = 0;
  while (true) {
    const auto answer = infer_all();
    if (answer == Answer::kFinite) return answer;
    tried |= std::uint64_t{1} << number(state_);
    const auto to = state_->fallback;
    if (to < 0 || (tried >> to & 1)) return answer;
    fall_back(answer == Answer::kNotFinite ? switched(Why::kNotFinite) : switched(failure_));
  }
}

Policy::Answer PolicySet::infer_all() noexcept {
  for (auto* member : state_->members) {
    if (!member->is_due() || member->has_answered()) continue;
    const auto answer = member->infer(now_ns_);
    if (answer == Answer::kFinite) continue;
    if (answer != Answer::kNotFinite) {
      failure_ = member->failure();
      failure_.member = place_of(member);
    }
    return answer;
  }
  if (left_) {
    const auto began_ns = clock_(context_);
    infer_left();
    left_ns_ += clock_(context_) - began_ns;
  }
  return Answer::kFinite;
}

void PolicySet::infer_left() noexcept {
  for (auto* member : left_->members) {
    if (state_->has(member) || !member->is_due() || member->has_answered()) continue;
    if (member->infer(now_ns_) != Answer::kFinite) {
      leave_out();
      return;
    }
  }
}

void PolicySet::blend() noexcept {
  ++blended_ticks_;
  const double share = static_cast<double>(blended_ticks_) / static_cast<double>(blend_ticks_);
  take(flat_, state_->sources, action_.command);
  if (left_) take(flat_, left_->sources, from_.command);
  const auto joints = action_.command.size();
  for (std::size_t i = 0; share < 1.0 && i < joints; ++i) {
    action_.command[i] = action_.command[i] * share + from_.command[i] * (1.0 - share);
  }
  bound_held();
  for (std::size_t i = 0; i < 2 * joints; ++i) {
    action_.gains[i] = state_->gains[i] * share + from_.gains[i] * (1.0 - share);
    action_.healthy[i] = maximum(state_->healthy[i], from_.healthy[i]);
  }
  action_.is_rescaled = true;
  double largest = -kInf;
  for (std::size_t i = 0; i < joints; ++i) {
    const double step = std::fabs(action_.command[i] - before_[i]);
    largest = maximum(largest, step / action_.healthy[joints + i]);
  }
  if (largest > step_ratio_) step_ratio_ = largest;
  if (share >= 1.0) {
    left_ = nullptr;
    set_running();
    settle();
  }
}

void PolicySet::clear(Refusal& refusal) noexcept {
  std::fill(refusal.off.begin(), refusal.off.end(), kNan);
  std::fill(refusal.speed.begin(), refusal.speed.end(), kNan);
  refusal.code = Refusal::Code::kNone;
  refusal.to = refusal.other = refusal.member = refusal.state = refusal.ticks = -1;
  refusal.is_given_up = false;
  refusal.tilt = refusal.body_rate = refusal.phase = kNan;
  refusal.command.fill(kNan);
}

Refusal& PolicySet::note(const Refusal& refusal) noexcept {
  auto& into = refusals_[(refusals_begin_ + refusals_count_) % refusals_.size()];
  into = refusal;
  if (refusals_count_ < refusals_.size()) {
    ++refusals_count_;
  } else {
    refusals_begin_ = (refusals_begin_ + 1) % refusals_.size();
  }
  return into;
}

const Refusal* PolicySet::pop_refusal() noexcept {
  if (refusals_count_ == 0) return nullptr;
  const auto& found = refusals_[refusals_begin_];
  refusals_begin_ = (refusals_begin_ + 1) % refusals_.size();
  --refusals_count_;
  return &found;
}

}  // namespace policy_core
