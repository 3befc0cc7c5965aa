// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "policy_core/authority.hpp"
#include "policy_core/guard.hpp"
#include "policy_core/input.hpp"
#include "policy_core/joint_check.hpp"
#include "policy_core/joint_policy.hpp"
#include "policy_core/motions.hpp"
#include "policy_core/policy.hpp"
#include "policy_core/policy_set.hpp"
#include "policy_core/runner.h"
#include "policy_core/state.hpp"
#include "policy_core/table.hpp"
#include "policy_core/takeover.hpp"

namespace policy_core {

/// A change of mode, for a log.
struct Edge {
  Mode mode;
  Reason reason;
  std::int64_t at_ns;
};

/// Results of a tick besides its targets.
struct TickResult {
  Mode mode = Mode::kDamp;
  Reason reason;
  /// Null for no command. Owned by the controller; the next tick overwrites it.
  Targets* targets = nullptr;
  /// True if the policy was asked; if it had no memory then; if its answer was used.
  bool asked = false, begins = false, taken = false;
  /// If used: share of the policy in the targets, consecutive clipped ticks.
  double blend = 0.0;
  std::int64_t clipped_ticks = 0;
};

/// A rule that latched a fault, or began a HOLD.
struct Trip {
  Rule rule;
  Reason reason;
  bool latched;
};

/// Modes DAMP, STAND, READY, RUN and HOLD around a policy, under the guard's rules.
///
/// Same results as `policy_core.control.controller.Controller`, bit for bit. All methods belong to
/// one thread, or to a host that serialises them, except `press_estop` and `driver_stopped`. `tick`
/// allocates nothing, takes no lock, throws nothing and logs nothing.
class Controller {
 public:
  /// Throws PlanError if plan and models do not match. Both must outlive the controller. `memory`:
  /// as for `RobotState`.
  Controller(const Table& plan, const Models& models, ReadClock clock, void* context,
             Span memory = {});
  Controller(const Controller&) = delete;

  /// Begins in DAMP without knowledge of the robot; called for each activation.
  void start() noexcept;
  /// Times in ns: of the tick, and of the next one; a later result is too late.
  const TickResult& tick(std::int64_t now_ns, std::int64_t next_deadline_ns) noexcept;

  // For sampling. Pass each message to `input(place).is_new` first.
  RobotState& state() noexcept { return state_; }
  std::size_t input_count() const noexcept { return inputs_.size(); }
  Input& input(std::size_t place) noexcept { return inputs_[place]; }
  JointCheck& joint_check() noexcept { return joint_check_; }
  CommandFader& command() noexcept { return command_; }
  /// Writes the commands for this time; returns the rules that acted on them.
  Rules update_command(std::int64_t now_ns) noexcept { return command_.update(inputs_, now_ns); }
  void reject_command() noexcept { count(Rule::kBadCommand); }
  /// The time of its clock, ns: that of the ticks, which advances within one.
  std::int64_t now() const noexcept { return clock_(context_); }

  // Requests, between two ticks. The reasons to refuse a motion are in `problems`.
  struct Problems {
    bool latched = false, pressed = false, wrong_mode = false;
    /// Inputs that are too old or invalid; fields that are not finite; joints. Bits.
    std::uint64_t inputs = 0, not_finite = 0, outside = 0, held = 0, far_off = 0;
    double tilt_rad = 0.0;
    bool any() const noexcept {
      return latched || pressed || wrong_mode || inputs || not_finite || outside || held ||
             far_off || tilt_rad > 0.0;
    }
  };
  /// Stands up unless there are problems.
  Problems stand() noexcept;
  /// Lets the policy take over unless there are problems.
  Problems run() noexcept;
  /// False if no command is being sent and no pose is known that could be held.
  bool damp(std::int64_t text) noexcept;
  void stop(std::int64_t text) noexcept;
  void fault(Rule rule, std::int64_t text) noexcept;
  void reset() noexcept;
  /// Sets the policy's share of the command in RUN. False if it is not within 0 to 1, if the robot
  /// must not have joints without stiffness, or if no pose is commanded that could be frozen.
  bool set_authority(double share, Rest rest, const std::vector<bool>& joints) noexcept;
  void fade_command() noexcept { command_.close(now()); }

  // From any thread.
  /// Lets the next tick latch the e-stop; `text`: the host's number for the reason.
  void press_estop(std::int64_t text) noexcept { pressed_.store(text, std::memory_order_release); }
  bool estop_pressed() const noexcept { return pressed() >= 0; }
  /// The number of the press; -1 if it is not pressed.
  std::int64_t pressed() const noexcept { return pressed_.load(std::memory_order_acquire); }
  /// Clears a press, unless there was another one since.
  void forget_press(std::int64_t text) noexcept { pressed_.compare_exchange_strong(text, -1); }
  void driver_stopped(std::int64_t text) noexcept {
    driver_stopped_.store(text, std::memory_order_release);
  }

  /// Registers a function for each tick that asks the policy, called before its answer is used with
  /// true if it answered.
  using Asked = void (*)(void* context, bool has_answered);
  void on_asked(Asked asked, void* context) noexcept {
    asked_ = asked;
    asked_context_ = context;
  }

  /// Null if no targets are known for after a fault.
  Targets* safe_targets() noexcept { return safe_.known ? &safe_.targets : nullptr; }
  bool was_asked_for_a_pose() const noexcept { return safe_.requested; }
  Mode mode() const noexcept { return mode_; }
  const Reason& reason() const noexcept { return reason_; }
  bool latched() const noexcept { return latched_; }
  bool estop_noted() const noexcept { return estop_noted_; }
  /// Number of mode changes, and of rules that tripped.
  std::int64_t edge_count() const noexcept { return edge_count_; }
  std::int64_t trip_count() const noexcept { return trip_count_; }
  const std::array<std::int64_t, kRules>& counters() const noexcept { return counters_; }
  const std::optional<Trip>& trip() const noexcept { return trip_; }
  /// The policy's target after the guard's limits, before blending [joints].
  const Numbers& target() const noexcept { return policy_->action().command; }
  /// The operator's authority setting.
  Authority& authority() noexcept { return authority_; }
  /// The running set; null for a single policy.
  PolicySet* policy_set() noexcept { return set_.get(); }
  /// The chunk policy of a member; for an empty name the single policy. Null for another kind.
  ChunkPolicy* chunk_policy(const std::string& member) noexcept {
    for (std::size_t i = 0; set_ && i < set_->members().size(); ++i) {
      auto& each = *set_->members()[i];
      if (each.name() == member && each.as_chunk()) return &each.as_chunk()->policy();
    }
    if (!member.empty()) return nullptr;
    return person_ ? &person_->policy() : chunk_.get();
  }
  /// The takeover by a person; null if disabled.
  PersonTakeover* person() noexcept { return person_.get(); }
  /// Takes the oldest mode change that was not taken; false without one.
  bool pop_edge(Edge& edge) noexcept;

  /// Shows the full state to a visitor, which reads or replaces it; the press of an e-stop and a
  /// stopped driver belong to other threads, and a visitor may skip them. A visitor that is not
  /// `is_whole` does not see what only a chunk policy reads.
  template <class Visitor>
  void visit(Visitor& v);

 private:
  enum class Motion : std::int64_t { kNone, kStand, kRun };

  Targets* step(std::int64_t now_ns, std::int64_t deadline_ns, std::int64_t gap_ns) noexcept;
  Targets* run_policy(std::int64_t now_ns, std::int64_t deadline_ns) noexcept;
  Rules update_run(std::int64_t now_ns) noexcept;
  Targets* take(Motion motion) noexcept;
  Targets* hold(std::int64_t now_ns, Rule rule, const Reason& reason) noexcept;
  Targets* latch(Rule rule, const Reason& reason) noexcept;
  void resume(std::int64_t now_ns) noexcept;
  void pause(std::int64_t now_ns) noexcept;
  void enter(Mode mode, const Reason& reason) noexcept;
  void enter_damp(const Reason& reason) noexcept;
  void count(Rule rule) noexcept { ++counters_[static_cast<std::size_t>(rule)]; }
  void trip(Rule rule, const Reason& reason, bool latched) noexcept;
  bool act_on_estop() noexcept;
  void act_on_driver() noexcept;
  void bound(Targets* targets) noexcept;
  double tilt_beyond() noexcept;
  Policy* make_policy(const Part& plan, const Models& models);
  Problems problems(std::int64_t now_ns) noexcept;

  ReadClock clock_;
  void* context_;
  Asked asked_ = nullptr;
  void* asked_context_ = nullptr;
  std::int64_t longest_gap_ns_, damp_after_ns_, blend_ns_;
  std::optional<double> max_tilt_rad_;
  double upright_z_ = 0.0;
  Numbers low_, high_;

  RobotState state_;
  std::vector<Input> inputs_;
  std::size_t pose_source_ = 0;
  Span joint_pos_, joint_vel_, gravity_;
  Numbers no_velocity_, commanded_;
  CommandFader command_;
  std::unique_ptr<JointPolicy> joint_;
  std::unique_ptr<PolicySet> set_;
  std::unique_ptr<ChunkPolicy> chunk_;
  std::unique_ptr<PersonTakeover> person_;
  Policy* policy_;
  Stand stand_;
  StepBound step_;
  SafeTargets safe_;
  TargetBounds bounds_;
  JointCheck joint_check_;
  Targets run_targets_, held_;
  Authority authority_;
  std::int64_t run_began_ns_ = 0, clipped_ticks_ = 0;

  Mode mode_ = Mode::kDamp, held_mode_ = Mode::kDamp;
  Reason reason_;
  bool latched_ = false, estop_noted_ = false;
  std::atomic<std::int64_t> pressed_{-1}, driver_stopped_{-1};
  std::array<std::int64_t, kRules> counters_{};
  Time last_tick_ns_;
  Motion commanded_by_ = Motion::kNone;
  std::int64_t hold_began_ns_ = 0, held_until_ns_ = 0;
  std::optional<Trip> trip_;
  TickResult result_;
  std::array<Edge, 128> edges_{};
  std::size_t edges_begin_ = 0, edges_kept_ = 0;
  std::int64_t edge_count_ = 0, trip_count_ = 0;
};

template <class Visitor>
void Controller::visit(Visitor& v) {
  v.value("mode", mode_);
  v.reason("reason", reason_);
  v.value("latched", latched_);
  v.estop("estop", pressed_);
  v.value("estop_noted", estop_noted_);
  v.driver("driver_stopped", driver_stopped_);
  v.counters("counters", counters_);
  v.value("last_tick_ns", last_tick_ns_);
  v.motion("commanded_by", commanded_by_);
  v.part("stand", stand_);
  v.part("safe", safe_);
  v.part("step", step_);
  v.part("held", held_);
  v.value("held_mode", held_mode_);
  v.value("hold_began_ns", hold_began_ns_);
  v.value("held_until_ns", held_until_ns_);
  v.part("joint_check", joint_check_);
  v.part("state", state_);
  auto inputs = v.mapping("inputs");
  for (auto& input : inputs_) inputs.part(input.name().c_str(), input);
  v.part("command", command_);
  auto run = v.mapping("run");
  if (joint_) run.part("policy", *joint_);
  if (set_) run.part("policy", *set_);
  if (chunk_) run.part("policy", *chunk_);
  if (person_) run.part("policy", *person_);
  run.part("bounds", bounds_);
  run.value("began_ns", run_began_ns_);
  run.value("clipped_ticks", clipped_ticks_);
  run.part("targets", run_targets_);
  run.part("authority", authority_);
}

}  // namespace policy_core
