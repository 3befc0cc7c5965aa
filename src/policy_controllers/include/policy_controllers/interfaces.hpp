// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "policy_controllers/policy_update.hpp"

namespace policy_controllers {

/// How a robot's interfaces are called, and what its drives do where no interface says it: the
/// parameters of a controller.
struct Wiring {
  /// Of stiffness and damping: `kp, kd`, `stiffness, damping`; none where the drives keep theirs.
  std::vector<std::string> gain_interfaces;
  /// Among position, velocity, effort; none: what the contract needs.
  std::vector<std::string> command_interfaces;
  /// What the drives keep, one value for all joints or one for each.
  policy_core::Numbers stiffness, damping;
  std::string imu_name;
  /// State interfaces that count measurements, by group; groups without one are left out.
  std::map<std::string, std::string> counters;
};

/// What a controller reads and writes.
struct Interfaces {
  struct Command {
    std::string name;
    /// Place in `Targets::block`.
    std::size_t place;
  };
  /// In the order of what `PolicyUpdate::update` reads.
  std::vector<std::string> states;
  std::vector<Command> commands;
  /// Which groups each counter counts for, in the order of the counters among `states`.
  std::vector<std::vector<std::size_t>> counted;
};

/// Throws PlanError where the wiring does not let the robot do what the contract commands.
Interfaces interfaces_of(const Facts& facts, const Wiring& wiring);

}  // namespace policy_controllers
