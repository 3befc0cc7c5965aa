// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <string>
#include <vector>

#include "policy_controllers/policy_update.hpp"

namespace policy_controllers {

/// Parameters of a controller: names of the robot's interfaces, and properties of its drives that
/// have no interface.
struct Wiring {
  /// Names of the stiffness and damping interfaces, such as `kp, kd`; none if the drives' gains are
  /// fixed.
  std::vector<std::string> gain_interfaces;
  /// Any of position, velocity, effort; none: those that the contract needs.
  std::vector<std::string> command_interfaces;
  /// Fixed gains of the drives: one value for all joints, or one per joint.
  policy_core::Numbers stiffness, damping;
  std::string imu_name;
  /// State interface that counts the measurements of each group; groups without one are left out.
  std::map<std::string, std::string> counters;
};

/// Interfaces that a controller reads and writes.
struct Interfaces {
  struct Command {
    std::string name;
    /// Index in `Targets::block`.
    std::size_t place;
  };
  /// In the order that `PolicyUpdate::update` reads.
  std::vector<std::string> states;
  std::vector<Command> commands;
  /// Groups of each counter, in the order of the counters among `states`.
  std::vector<std::vector<std::size_t>> counted;
};

/// Throws PlanError if the robot's interfaces cannot execute the contract's commands.
Interfaces interfaces_of(const Facts& facts, const Wiring& wiring);

}  // namespace policy_controllers
