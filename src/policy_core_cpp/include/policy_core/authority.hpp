// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "policy_core/guard.hpp"

namespace policy_core {

/// Source of the rest of a joint's command if the policy's share is below 1.
enum class Rest : std::int64_t { kStand, kFreeze, kDisable };

/// Blends the policy's command as the operator's authority setting requires. Same rules as
/// `policy_core.control.authority.Authority`.
class Authority {
 public:
  Authority(const Part& plan, std::size_t joints);

  /// True if the robot may have joints without stiffness.
  bool may_disable() const noexcept { return may_disable_; }
  /// Applies a request to these joints. `pose` is the current command. `at_once` skips blending, if
  /// the policy does not run.
  void set(double share, Rest rest, const std::vector<bool>& joints, const Numbers& pose,
           bool at_once) noexcept;
  void begin() noexcept;
  void advance() noexcept;
  void mix(Targets& targets, const Command& action) noexcept;
  /// True if any joint's share is, or will be, below 1.
  bool is_partial() const noexcept;
  /// The policy's current share [joints].
  const Numbers& share() const noexcept { return share_; }
  double lowest() const noexcept;

  template <class Visitor>
  void visit(Visitor& v) {
    const auto array = [&](const char* name, Numbers& values) {
      v.array(name, {values.data(), values.size()});
    };
    array("share", share_);
    array("wanted", wanted_);
    array("rest", rest_);
    array("frozen", frozen_);
    array("turn", turn_);
    v.array("before", {before_.data(), before_.size()}, {6, share_.size()});
  }

 private:
  double at_rest(std::size_t k) const noexcept;

  double step_;
  bool may_disable_;
  Numbers standing_, limp_, share_, wanted_, rest_, frozen_, turn_, before_;
};

}  // namespace policy_core
