// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "policy_core/input.hpp"
#include "policy_core/table.hpp"
#include "policy_core/vector.hpp"

namespace policy_core {

enum class Mode : std::int64_t { kDamp, kStand, kReady, kRun, kHold };

/// The rules of the guard, in the order of `policy_core.guard.bounds.Rule`.
enum class Rule : std::int64_t {
  kEstop,
  kNotFinite,
  kStaleState,
  kStalePerception,
  kInvalidPerception,
  kHeldTooLong,
  kStaleCommand,
  kBadCommand,
  kInferenceError,
  kInferenceLate,
  kNoTarget,
  kAttitude,
  kClock,
  kInternal,
  kDriver,
  kActionClip,
  kGainLimit,
  kRelativeTarget,
  kTargetSpeed,
  kEffort,
  kTargetStep,
  kClippedTooLong,
  kPositionLimit,
  kTrial,
};
constexpr std::size_t kRules = 24;

/// A set of rules, one bit each.
using Rules = std::uint32_t;
constexpr Rules bit(Rule rule) { return Rules{1} << static_cast<int>(rule); }

/// Why the controller is in its mode, as numbers: `Words` converts them to text.
struct Reason {
  enum class Code : std::int64_t {
    kText,          ///< text: the host's number of the text
    kStarted,
    kReset,
    kStanding,
    kStandingUp,
    kRuns,
    kGap,           ///< a: ms since the last tick
    kFields,        ///< fields: bits of those that are not finite
    kStale,         ///< place: input; a: its age in ns, NaN before the first; text: its problem;
                    ///< count: messages since then that were refused; stamps: why
    kTilt,          ///< a: rad
    kModelError,    ///< text: number of the runner's error
    kModelOutput,
    kPolicyTarget,
    kLate,          ///< a: ms
    kClipped,       ///< rules: those that acted in the last tick
    kSwitched,      ///< from, to: states of a set; why; for a failure, also the fields of its code
    kFirstAwaited,
    kNoStepLeft,    ///< a: duration of an inference, ms
    kSlowInference, ///< a: duration of the inference, ms; count: steps that had passed by then
    kNoFrame,       ///< place: camera
    kFramesApart,   ///< place: camera; a: ms
    kFrozenCamera,  ///< place: camera; count: equal frames; a: motion meanwhile, rad
    kLeaderSilent,  ///< same fields as kStale
    kLeaderBeyond,  ///< place: joint; a, b, c: found, low, high, rad; count: 1 for the first pose
                    ///< that is checked
    kLeaderJump,    ///< place: joint; a, b: found and before, rad; count: as above
    kLeaderUnconfirmed,  ///< count: consistent samples so far; a: those that are needed
    kLeaderWasFrozen,  ///< a: s; b: rad
    kArmWasHeld,
    kPersonTakesOver,
    kPersonDrives,
    kPersonHandsBack,
    kPolicyDrives,
  };
  /// Why a set switched its state.
  enum class Why : std::int64_t {
    kAskedFor,
    kWayBack,
    kEnded,
    kWaited,
    kLate,       ///< the previous state failed
    kNotFinite,
    kFailed,
  };

  Code code = Code::kStarted;
  std::int64_t text = 0, count = 0, stamps = 0, place = 0;
  /// The member of a set that it concerns, or -1.
  std::int64_t member = -1;
  std::int64_t from = -1, to = -1;
  Why why = Why::kAskedFor;
  /// For `Why::kFailed`: the failure's own `code`.
  Code failed = Code::kText;
  std::uint64_t fields = 0;
  double a = 0.0, b = 0.0, c = 0.0;
  Rules rules = 0;
  /// The rule that latched it as a fault, or -1.
  std::int64_t latched_by = -1;
  /// True if a HOLD has recovered from it.
  bool recovered = false;
  /// Text number of an e-stop that was pressed while it was latched, or -1.
  std::int64_t estop = -1;
  /// True if the leader dropped out for this reason.
  bool is_drop_out = false;
  /// Time for which a member's joints were held for this reason, s; NaN if they were not.
  double held_s = kNan;
};

/// A reason with this code and `a`.
Reason because(Reason::Code code, double a = 0.0) noexcept;
/// A reason whose text has this number at the host.
Reason said(std::int64_t text) noexcept;

/// The targets of one tick: the rows of `block` [6, joints], as in
/// `policy_core.interfaces.JointTargets`.
class Targets {
 public:
  explicit Targets(std::size_t joints) : joints_(joints), block_(6 * joints, 0.0) {}

  Mode mode = Mode::kDamp;
  Span position() noexcept { return row(0); }
  Span velocity() noexcept { return row(1); }
  Span effort() noexcept { return row(2); }
  Span stiffness() noexcept { return row(3); }
  Span damping() noexcept { return row(4); }
  Span effort_limit() noexcept { return row(5); }
  Span row(std::size_t i) noexcept { return {block_.data() + i * joints_, joints_}; }
  Numbers& block() noexcept { return block_; }
  const Numbers& block() const noexcept { return block_; }
  std::size_t joints() const noexcept { return joints_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("mode", mode);
    v.array("block", {block_.data(), block_.size()}, {6, joints_});
  }

 private:
  std::size_t joints_;
  Numbers block_;
};

/// A policy's command in one tick: one value per joint, a position, velocity or effort, and gains.
class Command {
 public:
  /// Reads each joint's kind of value (0: position, 1: velocity, 2: effort) and the gains.
  explicit Command(const Part& plan);

  std::size_t joints() const noexcept { return kinds_.size(); }
  /// True if the joint's value is a position.
  bool is_posed(std::size_t joint) const noexcept { return kinds_[joint] == 0; }
  /// Writes the command and the gains into the targets.
  void fill(Targets& targets) const noexcept;

  Numbers command;
  /// Stiffness, then damping [2, joints].
  Numbers gains;
  /// Largest torque demand, then largest step, of a healthy run [2, joints]; infinite if unknown.
  Numbers healthy;
  /// True if the last `commit` changed `gains` or `healthy`.
  bool is_rescaled = false;
  Rules clipped = 0;

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("is_rescaled", is_rescaled);
    v.rules("clipped", clipped);
    v.array("command", {command.data(), command.size()});
    v.array("gains", {gains.data(), gains.size()}, {2, joints()});
    v.array("healthy", {healthy.data(), healthy.size()}, {2, joints()});
  }

 private:
  Integers kinds_;
  bool all_posed_;
};

/// Limits a command's torques, steps and positions, in this order.
class TargetBounds {
 public:
  TargetBounds(const Part& plan, const Command& action);

  void rescale() noexcept;
  void reset(const Numbers& pose) noexcept;
  /// Clips `command` in place; returns the rules that changed it.
  Rules apply(Numbers& command, Span joint_pos, Span joint_vel) noexcept;

  template <class Visitor>
  void visit(Visitor& v) {
    v.array("last", {centre_.data() + joints_, joints_});
    if (v.restores()) rescale();
  }

 private:
  double margin_;
  const Command& action_;
  std::size_t joints_;
  std::vector<bool> is_position_, is_effort_;
  Numbers half_, centre_, of_velocity_, per_unit_;
};

/// Limits the step of positions between ticks.
class StepBound {
 public:
  explicit StepBound(const Part& plan);

  std::size_t joints() const noexcept { return stride_.size(); }

  void forget() noexcept;
  double within(std::size_t joint, double position) const noexcept {
    return fminimum(fmaximum(position, last_[joint] - stride_[joint]),
                    last_[joint] + stride_[joint]);
  }
  void apply(Targets& targets) noexcept;

  template <class Visitor>
  void visit(Visitor& v) {
    v.array("last", {last_.data(), last_.size()});
  }

 private:
  Numbers stride_, last_;
  std::vector<bool> free_in_run_;
  bool acts_;
};

/// Values that a topic commands, each clipped to its limits; they fade to their defaults when too
/// old.
class CommandedVector {
 public:
  /// `out` is the state field that messages write; `place` is the index of the topic's input.
  CommandedVector(const Part& plan, std::int64_t ramp_ns, Span out, std::size_t place);

  /// Writes the values of this tick; returns the rules that acted on the command.
  Rules update(const Input& source, std::int64_t now_ns) noexcept;
  std::size_t place() const noexcept { return place_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("taken_ns", taken_ns_);
    v.value("fading", fading_);
    v.array("wanted", {wanted_.data(), wanted_.size()});
  }

 private:
  Rules take(const Input& source) noexcept;

  Numbers low_, high_, default_;
  std::int64_t timeout_ns_, ramp_ns_;
  Span out_;
  std::size_t place_;
  Numbers wanted_;
  Time taken_ns_;
  bool fading_ = false;
};

/// The velocity command, clipped to the trained range, and the vectors; they fade when too old.
class CommandFader {
 public:
  CommandFader(const Part& plan, std::int64_t timeout_ns, std::int64_t ramp_ns, Span out);

  void reset() noexcept;
  /// Takes a new command; returns false and ignores it if it is not finite.
  bool set(const std::array<double, 3>& velocity, std::int64_t born_ns) noexcept;
  /// Also clips commands to this range from now on.
  void narrow(const std::array<double, 3>& low, const std::array<double, 3>& high) noexcept;
  void close(std::int64_t now_ns) noexcept;
  void open() noexcept { closed_ = false; }
  /// Writes the commands of this tick; returns the rules that acted on them.
  Rules update(const std::vector<Input>& inputs, std::int64_t now_ns) noexcept;
  /// Commanded vectors besides the velocity.
  std::vector<CommandedVector> vectors;

  template <class Visitor>
  void visit(Visitor& v) {
    v.array("wanted", {wanted_.data(), wanted_.size()});
    v.value("born_ns", born_ns_);
    v.value("fading", fading_);
    v.value("closed", closed_);
    auto parts = v.sequence("vectors", vectors.size());
    for (std::size_t i = 0; i < vectors.size(); ++i) parts.part(i, vectors[i]);
    if (v.restores()) {
      for (std::size_t i = 0; i < 3; ++i) wanted_[i] = clip(wanted_[i], low_[i], high_[i]);
    }
  }

 private:
  bool update_velocity(std::int64_t now_ns) noexcept;

  Numbers low_, high_;
  std::int64_t timeout_ns_, ramp_ns_;
  Span out_;
  Numbers wanted_;
  Time born_ns_;
  bool fading_ = false, closed_ = false;
};

/// The rule that applies when this input is too old.
Rule stale_rule(const Input& input) noexcept;
/// Why an input is too old.
Reason stale_reason(const Input& input, std::size_t place, std::int64_t now_ns) noexcept;

std::vector<bool> flags(const Part& plan, const std::string& name, std::size_t size);

}  // namespace policy_core
