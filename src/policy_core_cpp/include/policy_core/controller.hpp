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

/// A mode change, for logs.
struct Edge {
  Mode mode;
  Reason reason;
  std::int64_t at_ns;
};

/// The results of a tick.
struct TickResult {
  Mode mode = Mode::kDamp;
  Reason reason;
  /// Null if no command is to be sent. Owned by the controller; the next tick overwrites it.
  Targets* targets = nullptr;
  /// True if the policy was asked; if it had no memory at that time; if its answer was used.
  bool asked = false, begins = false, taken = false;
  /// If `taken`: the policy's share of the targets, and the number of consecutive clipped ticks.
  double blend = 0.0;
  std::int64_t clipped_ticks = 0;
};

/// A rule that latched a fault or began a HOLD.
struct Trip {
  Rule rule;
  Reason reason;
  bool latched;
};

/// Modes DAMP, STAND, READY, RUN and HOLD around a policy, under the guard's rules.
///
/// Same results as `policy_core.control.controller.Controller`, bit for bit. Except for
/// `press_estop` and `driver_stopped`, call all methods from one thread, or serialise them. `tick`
/// allocates nothing, takes no lock, throws nothing and logs nothing.
class Controller {
 public:
  /// Throws PlanError if plan and models do not match. Both must outlive the controller. `memory`
  /// is the same as for `RobotState`.
  Controller(const Table& plan, const Models& models, ReadClock clock, void* context,
             Span memory = {});
  Controller(const Controller&) = delete;

  /// Begins in DAMP, with nothing known about the robot; call it for each activation.
  void start() noexcept;
  /// Executes the tick due at `now_ns`. A policy's result after `next_deadline_ns` is too late.
  const TickResult& tick(std::int64_t now_ns, std::int64_t next_deadline_ns) noexcept;

  // For sampling. First call `input(place).is_new` for each message.
  RobotState& state() noexcept { return state_; }
  std::size_t input_count() const noexcept { return inputs_.size(); }
  Input& input(std::size_t place) noexcept { return inputs_[place]; }
  JointCheck& joint_check() noexcept { return joint_check_; }
  CommandFader& command() noexcept { return command_; }
  /// Writes the commands for this time; returns the rules that acted on them.
  Rules update_command(std::int64_t now_ns) noexcept { return command_.update(inputs_, now_ns); }
  void reject_command() noexcept { count(Rule::kBadCommand); }
  /// The time on the clock of the ticks, ns; it advances within a tick.
  std::int64_t now() const noexcept { return clock_(context_); }

  // Requests, to be made between ticks. A motion is refused if there are `Problems`.
  struct Problems {
    bool latched = false, pressed = false, wrong_mode = false;
    /// Bits of inputs that are too old or invalid, of fields that are not finite, and of joints.
    std::uint64_t inputs = 0, not_finite = 0, outside = 0, held = 0, far_off = 0;
    double tilt_rad = 0.0;
    bool any() const noexcept {
      return latched || pressed || wrong_mode || inputs || not_finite || outside || held ||
             far_off || tilt_rad > 0.0;
    }
  };
  /// Makes the robot stand up unless there are problems; returns them.
  Problems stand() noexcept;
  /// Starts the policy unless there are problems; returns them.
  Problems run() noexcept;
  /// Enters DAMP; returns false if no command is being sent and no pose to hold is known.
  bool damp(std::int64_t text) noexcept;
  void stop(std::int64_t text) noexcept;
  void fault(Rule rule, std::int64_t text) noexcept;
  void reset() noexcept;
  /// Sets the policy's share of the command in RUN. Returns false if the share is not within 0..1,
  /// the robot must not have joints without stiffness, or no pose to freeze is being commanded.
  bool set_authority(double share, Rest rest, const std::vector<bool>& joints) noexcept;
  void fade_command() noexcept { command_.close(now()); }

  // For any thread.
  /// Makes the next tick latch the e-stop. `text` is the host's number of the reason.
  void press_estop(std::int64_t text) noexcept { pressed_.store(text, std::memory_order_release); }
  bool estop_pressed() const noexcept { return pressed() >= 0; }
  /// The number of the reason for the press; -1 if the e-stop is not pressed.
  std::int64_t pressed() const noexcept { return pressed_.load(std::memory_order_acquire); }
  /// Clears the press with this number, unless the e-stop was pressed again since then.
  void forget_press(std::int64_t text) noexcept { pressed_.compare_exchange_strong(text, -1); }
  void driver_stopped(std::int64_t text) noexcept {
    driver_stopped_.store(text, std::memory_order_release);
  }

  /// Registers a function that each tick calls after it asked the policy and before it uses the
  /// answer, with true if the policy answered.
  using Asked = void (*)(void* context, bool has_answered);
  void on_asked(Asked asked, void* context) noexcept {
    asked_ = asked;
    asked_context_ = context;
  }

  /// The targets to send after a fault; null if none are known.
  Targets* safe_targets() noexcept { return safe_.known ? &safe_.targets : nullptr; }
  bool was_asked_for_a_pose() const noexcept { return safe_.requested; }
  Mode mode() const noexcept { return mode_; }
  const Reason& reason() const noexcept { return reason_; }
  bool latched() const noexcept { return latched_; }
  bool estop_noted() const noexcept { return estop_noted_; }
  /// Number of mode changes so far, and of trips.
  std::int64_t edge_count() const noexcept { return edge_count_; }
  std::int64_t trip_count() const noexcept { return trip_count_; }
  const std::array<std::int64_t, kRules>& counters() const noexcept { return counters_; }
  const std::optional<Trip>& trip() const noexcept { return trip_; }
  /// The policy's target after the guard's limits, before blending [joints].
  const Numbers& target() const noexcept { return policy_->action().command; }
  /// The operator's authority setting.
  Authority& authority() noexcept { return authority_; }
  /// The policy set; null for a single policy.
  PolicySet* policy_set() noexcept { return set_.get(); }
  /// The chunk policy of this member, or the single one if `member` is empty; null if none.
  ChunkPolicy* chunk_policy(const std::string& member) noexcept {
    for (std::size_t i = 0; set_ && i < set_->members().size(); ++i) {
      auto& each = *set_->members()[i];
      if (each.name() == member && each.as_chunk()) return &each.as_chunk()->policy();
    }
    if (!member.empty()) return nullptr;
    return person_ ? &person_->policy() : chunk_.get();
  }
  /// The takeover by a person; null if the policy has none.
  PersonTakeover* person() noexcept { return person_.get(); }
  /// Takes the oldest mode change not taken yet; returns false if there is none.
  bool pop_edge(Edge& edge) noexcept;

  /// Shows the full state to a visitor, which reads or replaces it. A visitor may skip the pressed
  /// e-stop and the stopped driver, which belong to other threads. If it is not `is_whole`, it does
  /// not see what only a chunk policy reads.
  template <class Visitor>
  void visit(Visitor& v);

 private:
  enum class Motion : std::int64_t { kNone, kStand, kRun };

  Targets* step(std::int64_t now_ns, std::int64_t deadline_ns, std::int64_t gap_ns) noexcept;
  Targets* run_policy(std::int64_t now_ns, std::int64_t deadline_ns) noexcept;
  Rules update_run(std::int64_t now_ns) noexcept;
  Targets* take(Motion motion) noexcept;
  std::int64_t end_ns(std::int64_t now_ns, std::int64_t deadline_ns) const noexcept;
  Targets* hold(std::int64_t now_ns, std::int64_t ended_ns, Rule rule,
                const Reason& reason) noexcept;
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
