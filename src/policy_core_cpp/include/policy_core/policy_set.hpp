// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "policy_core/chunk_policy.hpp"
#include "policy_core/input.hpp"
#include "policy_core/joint_policy.hpp"
#include "policy_core/policy.hpp"
#include "policy_core/state.hpp"

namespace policy_core {

/// Models by the names of a set's members; a single policy's has an empty name.
using Models = std::vector<std::pair<std::string, const policy_core_runner*>>;

/// Throws PlanError if there is no model of this name.
const policy_core_runner& model_of(const Models& models, const std::string& name);

class ChunkMember;

/// A policy of a set, which commands its joints at its own rate; equivalent to
/// `policy_core.sets.member.MemberPolicy`.
class Member {
 public:
  /// `targets` are those of all members; `joints` is the set's number of joints.
  Member(const Part& plan, RobotState& sensed, Numbers& targets, std::size_t joints);
  virtual ~Member() = default;

  virtual void reset() noexcept;
  /// Prepares to take command, from the set's last command [joints of the set].
  virtual void enter(const Numbers& command) noexcept;
  virtual void follow(const Numbers& command) noexcept = 0;
  virtual void pause(std::int64_t) noexcept {}
  virtual Policy::Answer infer(std::int64_t now_ns) noexcept = 0;
  virtual Span first_target() noexcept = 0;
  virtual Rules commit() noexcept = 0;
  virtual void rest() noexcept { pass(); }
  virtual bool watches() const noexcept { return false; }
  virtual bool has_ended() const noexcept { return false; }
  /// This object if it is a chunk member, otherwise null.
  virtual ChunkMember* as_chunk() noexcept { return nullptr; }

  bool is_due() const noexcept { return wait_ <= 0; }
  void run_now() noexcept { wait_ = 0; }
  void drop_answer() noexcept { has_answered_ = false; }
  const std::string& name() const noexcept { return name_; }
  Span command() noexcept { return command_; }
  bool has_answered() const noexcept { return has_answered_; }
  bool is_followed() const noexcept { return is_followed_; }
  Span phases(const std::string& field) noexcept { return state_.find(field); }
  const Reason& failure() const noexcept { return failure_; }

 protected:
  /// Throws PlanError if its policy has a different number of joints.
  void check_joints_of(Policy& policy) const;
  /// Copies the values that it needs from the set's state to its own.
  void look() noexcept;
  /// Advances to the next tick of the set.
  void pass() noexcept;

  std::string name_;
  Span command_;
  Integers places_;
  RobotState state_;
  std::int64_t wait_ = 0;
  bool has_answered_ = false;
  Reason failure_;

 private:
  std::int64_t every_, parts_;
  bool is_followed_;
  std::vector<std::pair<Integers, Span>> sensed_parts_;
  Span sensed_;
};

/// A joint policy as a member of a set; equivalent to `policy_core.sets.joint_member`.
class JointMember : public Member {
 public:
  JointMember(const Part& plan, RobotState& sensed, std::vector<Input>& inputs,
              const Models& models, Numbers& targets, std::size_t joints);

  void reset() noexcept override;
  void follow(const Numbers& command) noexcept override;
  Policy::Answer infer(std::int64_t now_ns) noexcept override;
  Span first_target() noexcept override;
  Rules commit() noexcept override;
  void rest() noexcept override;
  bool watches() const noexcept override { return watches_; }
  bool has_ended() const noexcept override { return motion_ && motion_->has_ended(); }

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("wait", wait_);
    v.value("has_answered", has_answered_);
    v.array("command", command_);
    v.part("state", state_);
    v.part("policy", policy_);
  }

 private:
  void look() noexcept;

  bool watches_;
  JointPolicy policy_;
  ReferenceMotion* motion_;
  std::vector<std::pair<const Input*, std::size_t>> own_inputs_;
  Span last_action_, velocity_;
  Numbers commanded_, lowest_, highest_;
};

/// A chunk policy as a member of a set; equivalent to `policy_core.sets.chunk_member`.
class ChunkMember : public Member {
 public:
  /// `asked_ns` is the time at which all members run in a tick; it must outlive the member.
  ChunkMember(const Part& plan, RobotState& sensed, const std::vector<Input>& inputs,
              Numbers& targets, std::size_t joints, std::int64_t number,
              std::int64_t& asked_ns);

  void reset() noexcept override;
  void enter(const Numbers& command) noexcept override;
  void follow(const Numbers& command) noexcept override;
  void pause(std::int64_t duration_ns) noexcept override;
  Policy::Answer infer(std::int64_t now_ns) noexcept override;
  /// Its current command, since speed limits keep the first step near it.
  Span first_target() noexcept override { return command_; }
  Rules commit() noexcept override;
  ChunkMember* as_chunk() noexcept override { return this; }
  ChunkPolicy& policy() noexcept { return policy_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("wait", wait_);
    v.value("has_answered", has_answered_);
    v.array("command", command_);
    v.part("policy", policy_);
    v.reason("held", held_);
    v.value("held_since_ns", held_since_ns_);
    v.value("held_until_ns", held_until_ns_);
  }

 private:
  Policy::Answer ask(std::int64_t now_ns) noexcept;

  ChunkPolicy policy_;
  std::vector<std::pair<const Input*, std::size_t>> cameras_;
  std::int64_t longest_hold_ns_;
  /// Why its joints are held; empty if they are not.
  std::optional<Reason> held_;
  std::int64_t held_since_ns_ = 0, held_until_ns_ = 0;
};

/// Why a switch was refused, or why it waits.
struct Refusal {
  enum class Code : std::int64_t {
    kNone,
    kSame,        ///< the set is already in state `to`
    kNoTransition,
    kBlending,    ///< the switch to `other` has not ended yet
    kConditions,
    kModelError,  ///< of a member; text: number of the runner's error
    kStale,       ///< of a member, see `failure`
    kNotFinite,   ///< of a member
    kFirstTarget,
    kInstead,     ///< `other` was requested instead
    kText,        ///< failure.text: number of a saved text
  };
  Code code = Code::kNone;
  std::int64_t to = -1, other = -1, member = -1;
  /// True once the request has been abandoned, and `state` continues.
  bool is_given_up = false;
  std::int64_t state = -1;
  Reason failure;
  /// Values for the failed conditions, NaN for the others: distance from the pose and speed
  /// [joints]; tilt, rad; angular velocity, rad/s; vx, vy, yaw rate; gait phase; ticks in state.
  Numbers off, speed;
  double tilt = 0.0, body_rate = 0.0, phase = 0.0;
  std::array<double, 3> command{};
  std::int64_t ticks = -1;
};

/// Checks the conditions of one transition.
class EntryCheck {
 public:
  EntryCheck(const Part& plan, RobotState& state,
             std::vector<std::unique_ptr<Member>>& members, std::size_t joints);

  bool needs_target() const noexcept { return needs_target_; }
  /// Checks all conditions except that on the first target; returns true if they hold, otherwise
  /// writes those that failed.
  bool holds(std::int64_t ticks, Refusal& found) noexcept;
  bool target_holds(const Numbers& target, Refusal& found) noexcept;

 private:
  bool near(const Numbers& pose, Refusal& found) noexcept;

  std::int64_t ticks_;
  bool needs_target_;
  Integers joints_, posed_;
  Numbers pose_, within_, speed_, command_limit_;
  std::optional<double> tilt_, body_rate_;
  std::optional<std::pair<double, double>> gait_;
  Span joint_pos_, joint_vel_, gravity_, rate_, command_, phases_;
};

/// A state of a set, with everything that a switch needs prepared in advance.
struct CommandingState {
  struct Transition {
    std::int64_t to, blend_ticks, ticks, timeout_state;
    bool waits;
    EntryCheck check;
  };

  std::string name;
  std::vector<Member*> members;
  std::int64_t way_back, fallback, fallback_blend_ticks, ends_to, ends_after;
  bool may_stand;
  std::vector<Member*> ending;
  Integers sources, held;
  Numbers held_low, held_high, gains, healthy;
  std::vector<Transition> transitions;

  bool has(const Member* member) const noexcept;
  Transition* transition(std::int64_t to) noexcept;
  /// Throws PlanError if there is no transition for its way back, its end or a time-out.
  void check_transitions();
  bool ends_now(std::int64_t ticks) const noexcept;
};

/// Combines several policies for one controller; equivalent to `policy_core.sets.policy.PolicySet`.
class PolicySet : public Policy {
 public:
  PolicySet(const Part& plan, RobotState& state, std::vector<Input>& inputs, const Models& models,
            ReadClock clock, void* context);

  void reset() noexcept override;
  void pause(std::int64_t duration_ns) noexcept override;
  Answer infer() noexcept override;
  Numbers& commit() noexcept override;
  Command& action() noexcept override { return action_; }
  bool begins() const noexcept override { return begins_; }
  const Reason* change() const noexcept override { return change_ ? &*change_ : nullptr; }

  /// Requests a state by its number, between two ticks; returns why it is refused, or `kNone`.
  const Refusal& ask(std::int64_t to) noexcept;
  void go_back() noexcept;
  void stop() noexcept;
  bool may_stand() const noexcept { return state_->may_stand && blend_ticks_ == 0; }

  std::int64_t state() const noexcept { return number(state_); }
  std::int64_t asked() const noexcept { return request_ ? request_->to : -1; }
  bool is_blending() const noexcept { return blend_ticks_ > 0; }
  const Refusal& refused() const noexcept { return refused_; }
  const std::optional<Reason>& last() const noexcept { return last_; }
  std::int64_t switches() const noexcept { return switches_; }
  std::int64_t fallbacks() const noexcept { return fallbacks_; }
  double step_ratio() const noexcept { return step_ratio_; }
  /// Time at which the members last ran.
  std::int64_t asked_ns() const noexcept { return now_ns_; }
  /// Takes the oldest refusal by a tick; null if there is none.
  const Refusal* pop_refusal() noexcept;
  std::vector<std::unique_ptr<Member>>& members() noexcept { return members_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.part("action", action_);
    v.value("begins", begins_);
    v.reason("change", change_);
    auto members = v.mapping("members");
    for (auto& member : members_) {
      if (auto* chunk = member->as_chunk()) {
        members.part(member->name().c_str(), *chunk);
      } else {
        members.part(member->name().c_str(), static_cast<JointMember&>(*member));
      }
    }
    v.part("from", from_);
    v.value("blend_ticks", blend_ticks_);
    v.value("blended_ticks", blended_ticks_);
    v.value("settled", settled_);
    v.value("ticks", ticks_);
    v.value("ticks_in_state", ticks_in_state_);
    v.value("unanswered", unanswered_);
    v.value("returning", returning_);
    v.refusal("refused", refused_);
    v.reason("entered", entered_);
    v.value("switches", switches_);
    v.value("fallbacks", fallbacks_);
    v.reason("last", last_);
    v.value("step_ratio", step_ratio_);
    v.value("infer_ns", infer_ns_);
    v.value("left_ns", left_ns_);
    auto state = number(state_), left = number(left_);
    v.state("state", state);
    v.state("left", left);
    v.request("request", request_);
    if (v.restores()) go_on_in(state, left);
  }

  struct Request {
    std::int64_t to;
    Reason::Why why;
    /// Remaining ticks for which it may wait; -1 for no limit.
    std::int64_t ticks;
    std::int64_t timeout_state;
  };

 private:
  std::int64_t number(const CommandingState* state) const noexcept {
    return state ? state - states_.data() : -1;
  }
  CommandingState& at(std::int64_t state) noexcept {
    return states_[static_cast<std::size_t>(state)];
  }
  void go_on_in(std::int64_t state, std::int64_t left) noexcept;
  bool is_running(const Member* member) const noexcept;
  std::int64_t place_of(const Member* member) const noexcept;
  void decide() noexcept;
  bool own_request(Request& request) noexcept;
  void give_up(const Request& request) noexcept;
  bool conditions_hold(std::int64_t to) noexcept;
  bool may_enter(std::int64_t to) noexcept;
  void enter(std::int64_t to, const Reason& why, std::int64_t blend_ticks) noexcept;
  void freeze() noexcept;
  void bound_held() noexcept;
  void set_running() noexcept;
  void settle() noexcept;
  bool fall_back(Reason why) noexcept;
  void act_on_lateness() noexcept;
  void leave_out() noexcept;
  Answer run() noexcept;
  Answer infer_all() noexcept;
  void infer_left() noexcept;
  void blend() noexcept;
  static void clear(Refusal& refusal) noexcept;
  Refusal& note(const Refusal& refusal) noexcept;

  ReadClock clock_;
  void* context_;
  Numbers flat_, stand_;
  std::vector<std::unique_ptr<Member>> members_;
  std::vector<CommandingState> states_;
  CommandingState* initial_;
  CommandingState* state_;
  CommandingState* left_ = nullptr;
  Command action_, from_;
  Numbers before_, first_targets_;
  std::int64_t now_ns_ = 0, infer_ns_ = 0, left_ns_ = 0;
  std::int64_t blend_ticks_ = 0, blended_ticks_ = 0, ticks_ = 0, ticks_in_state_ = 0;
  bool settled_ = false, unanswered_ = false, returning_ = false, begins_ = true;
  std::optional<Request> request_;
  Refusal refused_, found_;
  std::array<Refusal, 16> refusals_;
  std::size_t refusals_begin_ = 0, refusals_count_ = 0;
  std::optional<Reason> change_, entered_, last_;
  std::int64_t switches_ = 0, fallbacks_ = 0;
  double step_ratio_ = 0.0;
};

}  // namespace policy_core
