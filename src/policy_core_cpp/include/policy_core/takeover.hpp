// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>

#include "policy_core/chunk_policy.hpp"
#include "policy_core/joint_check.hpp"

namespace policy_core {

/// A chunk policy from which a person can take over with a leader arm; equivalent to
/// `policy_core.members.chunk.takeover.PersonTakeover`.
class PersonTakeover : public Policy {
 public:
  /// Source of the arm's targets in RUN.
  enum class Driver : std::int64_t { kPolicy, kHandover, kPerson, kReturn };
  /// Why a request was refused; for `kLeader`, `failure` has the details.
  enum class Refused : std::int64_t { kNo, kMode, kAlready, kLeader };

  PersonTakeover(const Part& plan, RobotState& state, const std::vector<Input>& inputs,
                 ReadClock clock, void* context);

  void reset() noexcept override;
  void pause(std::int64_t duration_ns) noexcept override;
  Answer infer() noexcept override;
  Numbers& commit() noexcept override;
  Command& action() noexcept override { return policy_.action(); }
  bool begins() const noexcept override { return begins_; }
  const Reason* change() const noexcept override { return change_ ? &*change_ : nullptr; }
  ChunkPolicy& policy() noexcept { return policy_; }

  /// Stops the arm, which follows the leader once the leader matches the arm's pose. Call it
  /// between two ticks.
  Refused take_over(Mode mode) noexcept;
  /// Makes the policy drive again, with a new chunk. Call it between two ticks.
  Refused hand_back(Mode mode) noexcept;
  Driver driver() const noexcept { return driver_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.driver("driver", driver_);
    v.array("off_rad", {off_rad_.data(), off_rad_.size()});
    v.value("begins", begins_);
    v.reason("change", change_);
    v.value("ran", ran_);
    v.reason("changes", changes_);
    v.array("target", {target_.data(), target_.size()});
    v.array("from", {from_.data(), from_.size()});
    v.value("ticks", ticks_);
    v.value("judged_ns", judged_ns_);
    v.value("still_ticks", still_ticks_);
    v.part("check", check_);
    v.part("policy", policy_);
    v.array("seen", {seen_.data(), seen_.size()});
  }

 private:
  bool policy_drives() const noexcept {
    return driver_ == Driver::kPolicy || driver_ == Driver::kReturn;
  }
  bool leader_fails(std::int64_t now_ns) noexcept;
  bool is_judged(std::int64_t now_ns) noexcept;
  bool begin_judging(std::int64_t now_ns) noexcept;
  bool judge(std::int64_t now_ns, bool begins) noexcept;
  void begin(Driver driver, Reason::Code change) noexcept;
  void begin_blend(Driver driver, Reason::Code change) noexcept;
  void rest(const Reason& change) noexcept;
  void measure_off() noexcept;
  void watch_still() noexcept;
  void blend(Numbers& target) noexcept;
  void bound(Numbers& target) noexcept;
  double still_s() const noexcept { return static_cast<double>(still_ticks_) / rate_hz_; }

  ReadClock clock_;
  void* context_;
  ChunkPolicy policy_;
  ChunkCommand& action_;
  JointCheck check_;
  TargetBounds bounds_;
  const Integers& places_;
  const Input* leader_;
  std::size_t leader_place_;
  std::int64_t timeout_ns_, blend_ticks_;
  double rate_hz_, tolerance_rad_;
  Span joint_pos_, leader_pos_;
  Numbers at_rest_, seen_, off_rad_, target_, from_, bounded_;
  Driver driver_ = Driver::kPolicy;
  bool begins_ = true, ran_ = false;
  std::optional<Reason> change_, changes_;
  std::int64_t ticks_ = 0, judged_ns_ = 0, still_ticks_ = 0;
};

}  // namespace policy_core
