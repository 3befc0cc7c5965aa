// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/controller.hpp"

#include <algorithm>

namespace policy_core {
namespace {

constexpr std::int64_t kClippedTicksLimit = 10;
using Code = Reason::Code;

std::vector<Input> inputs_of(const Part& plan) {
  std::vector<Input> inputs;
  for (const auto& input : plan.list("inputs")) inputs.emplace_back(input);
  return inputs;
}

std::uint64_t bit_of(std::size_t place) { return place < 64 ? std::uint64_t{1} << place : 0; }

}  // namespace

Controller::Controller(const Table& table, const Models& models, ReadClock clock, void* context,
                       Span memory)
    : clock_(clock),
      context_(context),
      longest_gap_ns_(Part(table).count("limits.state_timeout_ns") +
                      Part(table).count("limits.damp_after_ns")),
      damp_after_ns_(Part(table).count("limits.damp_after_ns")),
      blend_ns_(Part(table).count("limits.blend_ns")),
      low_(Part(table).numbers("fitness.low")),
      high_(Part(table).numbers("fitness.high", static_cast<std::int64_t>(low_.size()))),
      state_(Part(table).at("state"), memory),
      inputs_(inputs_of(Part(table))),
      command_(Part(table).at("command"), Part(table).count("limits.command_timeout_ns"),
               Part(table).count("limits.command_ramp_ns"), state_.find("velocity_command")),
      policy_(make_policy(Part(table).at("run.policy"), models)),
      stand_(Part(table).at("stand")),
      step_(Part(table).at("step")),
      safe_(Part(table).at("safe"), step_, state_.find("joint_vel")),
      bounds_(Part(table).at("run.bounds"), policy_->action()),
      joint_check_(Part(table).at("joint_check")),
      run_targets_(low_.size()),
      held_(low_.size()),
      authority_(Part(table).at("run.authority"), low_.size()) {
  const Part plan(table);
  const auto source = std::find_if(inputs_.begin(), inputs_.end(),
                                   [](const Input& each) { return each.name() == "joint_states"; });
  if (source == inputs_.end()) throw PlanError("plan: inputs: expected joint_states");
  pose_source_ = static_cast<std::size_t>(source - inputs_.begin());
  for (const auto& vector : plan.at("command").list("vectors")) {
    const auto& topic = vector.text("topic");
    const auto input = std::find_if(inputs_.begin(), inputs_.end(),
                                    [&](const Input& each) { return each.name() == topic; });
    const auto field = state_.find(vector.text("field"));
    if (input == inputs_.end() || !field.size) throw PlanError("plan: command: no input " + topic);
    command_.vectors.emplace_back(vector, plan.count("limits.command_ramp_ns"), field,
                                  static_cast<std::size_t>(input - inputs_.begin()));
  }
  const auto joints = low_.size();
  joint_pos_ = state_.find("joint_pos");
  joint_vel_ = state_.find("joint_vel", joints);
  if (joint_pos_.size != joints || stand_.targets.joints() != joints ||
      safe_.targets.joints() != joints || policy_->action().joints() != joints ||
      step_.joints() != joints || joint_check_.joints() != joints) {
    throw PlanError("plan: parts with different numbers of joints");
  }
  commanded_.resize(joints);
  if (joint_vel_.size == 0) {
    no_velocity_.assign(joints, 0.0);
    joint_vel_ = {no_velocity_.data(), joints};
  }
  if (plan.has("limits.max_tilt_rad")) {
    max_tilt_rad_ = plan.number("limits.max_tilt_rad");
    upright_z_ = plan.number("fitness.upright_z");
    gravity_ = state_.find("gravity_body");
    if (gravity_.size != 3) throw PlanError("plan: state: expected gravity_body");
  }
  run_targets_.block() =
      plan.numbers("run.targets.block", static_cast<std::int64_t>(6 * joints));
  held_.mode = Mode::kHold;
}

Policy* Controller::make_policy(const Part& plan, const Models& models) {
  if (plan.has_part("states")) {
    set_ = std::make_unique<PolicySet>(plan, state_, inputs_, models, clock_, context_);
    return set_.get();
  }
  if (plan.has_part("check")) {
    person_ = std::make_unique<PersonTakeover>(plan, state_, inputs_, clock_, context_);
    return person_.get();
  }
  if (plan.has_part("queue")) {
    chunk_ = std::make_unique<ChunkPolicy>(plan, state_, inputs_, clock_, context_);
    return chunk_.get();
  }
  joint_ = std::make_unique<JointPolicy>(plan, state_, model_of(models, ""));
  return joint_.get();
}

void Controller::start() noexcept {
  if (!latched_) reason_ = because(Code::kStarted);
  driver_stopped_.store(-1, std::memory_order_release);
  safe_.forget();
  step_.forget();
  joint_check_.forget();
  for (auto& input : inputs_) input.reset();
}

const TickResult& Controller::tick(std::int64_t now_ns, std::int64_t next_deadline_ns) noexcept {
  const auto gap_ns = now_ns - last_tick_ns_.value_or(now_ns);
  last_tick_ns_ = now_ns;
  result_.asked = result_.taken = false;
  act_on_estop();
  act_on_driver();
  auto* targets = step(now_ns, next_deadline_ns, gap_ns);
  // The e-stop may have been pressed while the policy ran.
  if (act_on_estop()) targets = safe_targets();
  bound(targets);
  result_.mode = mode_;
  result_.reason = reason_;
  result_.targets = targets;
  return result_;
}

void Controller::bound(Targets* targets) noexcept {
  if (!targets) {
    step_.forget();
    return;
  }
  step_.apply(*targets);
  if (mode_ != Mode::kDamp) safe_.note(*targets);
}

Targets* Controller::step(std::int64_t now_ns, std::int64_t deadline_ns,
                          std::int64_t gap_ns) noexcept {
  const auto& source = inputs_[pose_source_];
  const auto commanded = update_command(now_ns);
  for (const auto rule : {Rule::kStaleCommand, Rule::kBadCommand}) {
    if (commanded & bit(rule)) count(rule);
  }
  state_.derive();
  safe_.see(joint_pos_, source.measured_ns());
  if (mode_ == Mode::kDamp) {
    safe_.watch(joint_pos_, joint_check_, gap_ns, source.is_stale(now_ns));
    return safe_targets();
  }
  // A fault holds the pose of the tick that detects it, not an old one.
  safe_.capture();
  if (gap_ns < 0 || gap_ns > longest_gap_ns_) {
    return latch(Rule::kClock, because(Code::kGap, static_cast<double>(gap_ns) * 1e-6));
  }
  if (!state_.is_finite()) {
    auto reason = because(Code::kFields);
    reason.fields = state_.not_finite();
    if (reason.fields) return latch(Rule::kNotFinite, reason);
  }
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const auto& input = inputs_[i];
    if (!input.stops_all() || !input.is_stale(now_ns)) continue;
    return hold(now_ns, now_ns, stale_rule(input), stale_reason(input, i, now_ns));
  }
  if (const double tilt = tilt_beyond(); tilt > 0.0) {
    return latch(Rule::kAttitude, because(Code::kTilt, tilt));
  }
  if (mode_ == Mode::kHold && held_mode_ != Mode::kRun) resume(now_ns);
  if (mode_ == Mode::kRun || mode_ == Mode::kHold) return run_policy(now_ns, deadline_ns);
  if (stand_.update(now_ns) && mode_ == Mode::kStand) {
    enter(Mode::kReady, because(Code::kStanding));
  }
  return take(Motion::kStand);
}

Targets* Controller::run_policy(std::int64_t now_ns, std::int64_t deadline_ns) noexcept {
  // Before inference, whose result is for this tick, whether or not HOLD ends.
  if (mode_ == Mode::kHold) pause(now_ns);
  result_.asked = true;
  const auto answer = policy_->infer();
  result_.begins = policy_->begins();
  if (asked_) {
    asked_(asked_context_,
           answer == Policy::Answer::kFinite || answer == Policy::Answer::kNotFinite);
  }
  const auto ended_ns = end_ns(now_ns, deadline_ns);
  if (answer == Policy::Answer::kError) {
    return hold(now_ns, ended_ns, Rule::kInferenceError, policy_->failure());
  }
  if (answer == Policy::Answer::kNoTarget) {
    return hold(now_ns, ended_ns, Rule::kNoTarget, policy_->failure());
  }
  if (answer == Policy::Answer::kNotFinite) {
    return latch(Rule::kNotFinite, because(Code::kModelOutput));
  }
  if (ended_ns > deadline_ns) {
    const auto reason = because(Code::kLate, static_cast<double>(ended_ns - deadline_ns) * 1e-6);
    return hold(now_ns, ended_ns, Rule::kInferenceLate, reason);
  }
  if (mode_ == Mode::kHold) resume(now_ns);
  const auto acted = update_run(now_ns);
  for (std::size_t rule = 0; rule < kRules; ++rule) {
    if (acted >> rule & 1) ++counters_[rule];
  }
  if (!is_finite(policy_->action().command)) {
    return latch(Rule::kNotFinite, because(Code::kPolicyTarget));
  }
  if (clipped_ticks_ >= kClippedTicksLimit) {
    auto reason = because(Code::kClipped);
    reason.rules = acted;
    reason.count = kClippedTicksLimit;
    return latch(Rule::kClippedTooLong, reason);
  }
  if (const auto* change = policy_->change()) enter(Mode::kRun, *change);
  return take(Motion::kRun);
}

Rules Controller::update_run(std::int64_t now_ns) noexcept {
  const auto elapsed_ns = std::max<std::int64_t>(0, now_ns - run_began_ns_);
  const double share =
      elapsed_ns < blend_ns_ ? static_cast<double>(elapsed_ns) / static_cast<double>(blend_ns_) : 1.0;
  auto& command = policy_->commit();
  const auto& action = policy_->action();
  if (action.is_rescaled) bounds_.rescale();
  const auto acted = bounds_.apply(command, joint_pos_, joint_vel_);
  clipped_ticks_ = acted != 0 && acted != bit(Rule::kPositionLimit) ? clipped_ticks_ + 1 : 0;
  action.fill(run_targets_);
  authority_.advance();
  if (authority_.is_partial()) authority_.mix(run_targets_, action);
  if (share < 1.0) {
    auto& mixed = run_targets_.block();
    const auto& stand = stand_.targets.block();
    // The effort limit, the last row, is the contract's.
    for (std::size_t i = 0; i < 5 * run_targets_.joints(); ++i) {
      mixed[i] = mixed[i] * share + (1.0 - share) * stand[i];
    }
    // While its gain fades, a joint without a position target is held where it stood, not at 0.
    for (std::size_t i = 0; i < run_targets_.joints(); ++i) {
      if (action.is_posed(i) || authority_.share()[i] < 1.0) continue;
      run_targets_.position()[i] = stand_.targets.position()[i];
    }
  }
  result_.taken = true;
  result_.blend = share;
  result_.clipped_ticks = clipped_ticks_;
  return acted | action.clipped;
}

Targets* Controller::take(Motion motion) noexcept {
  auto& targets = motion == Motion::kStand ? stand_.targets : run_targets_;
  commanded_by_ = motion;
  targets.mode = mode_;
  return &targets;
}

// Only the tick's time is recorded, so nothing else may decide unless the policy is late.
std::int64_t Controller::end_ns(std::int64_t now_ns, std::int64_t deadline_ns) const noexcept {
  const auto ended_ns = now();
  return ended_ns > deadline_ns ? ended_ns : now_ns;
}

Targets* Controller::hold(std::int64_t now_ns, std::int64_t ended_ns, Rule rule,
                          const Reason& reason) noexcept {
  if (mode_ != Mode::kHold) {
    count(rule);
    held_mode_ = mode_;
    hold_began_ns_ = held_until_ns_ = now_ns;
    trip(rule, reason, false);
    // Before any motion has commanded, the last command was the safe one.
    const auto& last = commanded_by_ == Motion::kStand ? stand_.targets
                       : commanded_by_ == Motion::kRun ? run_targets_
                                                       : safe_.targets;
    std::copy(last.block().begin(), last.block().end(), held_.block().begin());
    enter(Mode::kHold, reason);
  }
  if (ended_ns - hold_began_ns_ > damp_after_ns_) {
    return latch(Rule::kHeldTooLong, reason);
  }
  return &held_;
}

void Controller::resume(std::int64_t now_ns) noexcept {
  pause(now_ns);
  auto reason = reason_;
  reason.recovered = true;
  enter(held_mode_, reason);
}

void Controller::pause(std::int64_t now_ns) noexcept {
  const auto held_ns = now_ns - held_until_ns_;
  held_until_ns_ = now_ns;
  stand_.pause(held_ns);
  run_began_ns_ += held_ns;
  policy_->pause(held_ns);
}

Targets* Controller::latch(Rule rule, const Reason& reason) noexcept {
  if (!latched_) {
    count(rule);
    latched_ = true;
    trip(rule, reason, true);
    auto why = reason;
    why.latched_by = static_cast<std::int64_t>(rule);
    enter_damp(why);
  }
  return safe_targets();
}

void Controller::enter_damp(const Reason& reason) noexcept {
  commanded_by_ = Motion::kNone;
  enter(Mode::kDamp, reason);
}

void Controller::enter(Mode mode, const Reason& reason) noexcept {
  mode_ = mode;
  reason_ = reason;
  joint_check_.in_motion = mode != Mode::kDamp;
  ++edge_count_;
  edges_[(edges_begin_ + edges_kept_) % edges_.size()] = {mode, reason, now()};
  if (edges_kept_ < edges_.size()) {
    ++edges_kept_;
  } else {
    edges_begin_ = (edges_begin_ + 1) % edges_.size();
  }
}

void Controller::trip(Rule rule, const Reason& reason, bool latched) noexcept {
  ++trip_count_;
  trip_ = {rule, reason, latched};
}

bool Controller::pop_edge(Edge& edge) noexcept {
  if (edges_kept_ == 0) return false;
  edge = edges_[edges_begin_];
  edges_begin_ = (edges_begin_ + 1) % edges_.size();
  --edges_kept_;
  return true;
}

bool Controller::act_on_estop() noexcept {
  const auto text = pressed_.load(std::memory_order_acquire);
  if (text < 0 || estop_noted_) return false;
  estop_noted_ = true;
  if (!latched_) {
    latch(Rule::kEstop, said(text));
    return true;
  }
  count(Rule::kEstop);
  auto reason = reason_;
  reason.estop = text;
  enter(Mode::kDamp, reason);
  return false;
}

void Controller::act_on_driver() noexcept {
  const auto text = driver_stopped_.exchange(-1, std::memory_order_acq_rel);
  if (text < 0 || mode_ == Mode::kDamp) return;
  count(Rule::kDriver);
  trip(Rule::kDriver, said(text), false);
  auto reason = said(text);
  reason.latched_by = static_cast<std::int64_t>(Rule::kDriver);
  enter_damp(reason);
}

void Controller::reset() noexcept {
  const auto pressed = pressed_.load(std::memory_order_acquire);
  act_on_estop();
  auto expected = pressed;
  if (latched_ && pressed_.compare_exchange_strong(expected, -1)) {
    latched_ = estop_noted_ = false;
    enter(Mode::kDamp, because(Code::kReset));
  }
}

bool Controller::damp(std::int64_t text) noexcept {
  const auto now_ns = now();
  const auto& source = inputs_[pose_source_];
  if (mode_ == Mode::kDamp && (safe_.known || !source.is_stale(now_ns))) {
    safe_.see(joint_pos_, source.measured_ns());
    safe_.hold();
  }
  if (!safe_.known) return false;
  if (!latched_) enter_damp(said(text));
  return true;
}

void Controller::stop(std::int64_t text) noexcept {
  if (!latched_) enter_damp(said(text));
}

void Controller::fault(Rule rule, std::int64_t text) noexcept { latch(rule, said(text)); }

Controller::Problems Controller::stand() noexcept {
  const auto now_ns = now();
  auto found = problems(now_ns);
  for (std::size_t i = 0; mode_ == Mode::kDamp && i < joint_pos_.size; ++i) {
    if (safe_.contradicts(joint_pos_, i)) found.held |= bit_of(i);
  }
  if (found.any()) return found;
  if (mode_ != Mode::kDamp || !safe_.known) {
    safe_.see(joint_pos_, inputs_[pose_source_].measured_ns());
    safe_.capture();
  }
  stand_.begin(safe_.start_of(joint_pos_), now_ns);
  enter(Mode::kStand, because(Code::kStandingUp));
  return found;
}

Controller::Problems Controller::run() noexcept {
  const auto now_ns = now();
  auto found = problems(now_ns);
  found.wrong_mode = mode_ != Mode::kReady;
  for (std::size_t i = 0; !found.wrong_mode && i < joint_pos_.size; ++i) {
    if (stand_.is_far_off(joint_pos_, i)) found.far_off |= bit_of(i);
  }
  if (found.any()) return found;
  policy_->reset();
  bounds_.reset(stand_.pose());
  authority_.begin();
  run_began_ns_ = now_ns;
  clipped_ticks_ = 0;
  command_.open();
  enter(Mode::kRun, because(Code::kRuns));
  return found;
}

bool Controller::set_authority(double share, Rest rest, const std::vector<bool>& joints) noexcept {
  if (!(share >= 0.0 && share <= 1.0) || joints.size() != commanded_.size()) return false;
  if (rest == Rest::kDisable && !authority_.may_disable()) return false;
  if (rest == Rest::kFreeze && commanded_by_ == Motion::kNone) return false;
  const bool freezes = rest == Rest::kFreeze, runs = commanded_by_ == Motion::kRun;
  const auto position = runs ? run_targets_.position() : stand_.targets.position();
  for (std::size_t i = 0; i < joints.size(); ++i) {
    const bool is_posed = !runs || policy_->action().is_posed(i);
    commanded_[i] = !freezes ? stand_.pose()[i] : is_posed ? position[i] : joint_pos_[i];
  }
  const bool at_once = mode_ != Mode::kRun && mode_ != Mode::kHold;
  authority_.set(share, rest, joints, commanded_, at_once);
  return true;
}

Controller::Problems Controller::problems(std::int64_t now_ns) noexcept {
  Problems found;
  found.latched = latched_;
  found.pressed = estop_pressed();
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const auto& input = inputs_[i];
    if (input.timeout_ns() && (input.is_stale(now_ns) || input.problem())) {
      found.inputs |= bit_of(i);
    }
  }
  if (found.inputs) return found;
  state_.derive();
  if (!state_.is_finite()) found.not_finite = state_.not_finite();
  if (found.not_finite) return found;
  found.tilt_rad = tilt_beyond();
  for (std::size_t i = 0; i < joint_pos_.size; ++i) {
    if (joint_pos_[i] < low_[i] || joint_pos_[i] > high_[i]) found.outside |= bit_of(i);
  }
  return found;
}

double Controller::tilt_beyond() noexcept {
  if (!max_tilt_rad_ || gravity_[2] < upright_z_) return 0.0;
  const double tilt = tilt_rad(gravity_);
  return tilt > *max_tilt_rad_ ? tilt : 0.0;
}

}  // namespace policy_core
