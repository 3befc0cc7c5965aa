// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "policy_controllers/child.hpp"

namespace policy_controllers {

/// A simulated robot in its own process, in lockstep: `robot_sim.sim_server` documents the
/// messages. Methods throw std::runtime_error with the expected and found values.
class SimLink {
 public:
  /// Rows of a command: rad, rad/s, N·m, N·m/rad, N·m·s/rad.
  enum Command : std::size_t { kPosition, kVelocity, kEffort, kStiffness, kDamping, kCommands };
  /// Rows of the joints' state: rad, rad/s, N·m.
  static constexpr std::size_t kStates = 3;
  /// Orientation x y z w, angular velocity in rad/s, linear acceleration in m/s².
  static constexpr std::size_t kImu = 10;
  /// Groups of sensors, each with a count of its samples so far.
  enum Group : std::size_t { kJoints, kBody, kGroups };

  /// Starts the robot and waits for its first sample.
  SimLink(const std::vector<std::string>& words, std::chrono::milliseconds start_limit,
          std::chrono::milliseconds answer_limit);

  /// The joint names, in the order of each row.
  const std::vector<std::string>& joints() const noexcept { return joints_; }
  std::int64_t step_ns() const noexcept { return step_ns_; }

  /// A row of the command that `send` sends.
  double* command(Command row) noexcept { return commands_.data() + row * joints_.size(); }
  /// Advances simulated time by this duration, a multiple of the step; without a command the drives
  /// damp. Neither this nor `receive` allocates.
  void send(std::int64_t duration_ns, bool is_commanded);
  /// Waits for the robot's answer; does nothing if it has been received.
  void receive();

  std::int64_t time_ns() const noexcept { return head_[0]; }
  std::int64_t samples(Group group) const noexcept { return head_[1 + group]; }
  /// A row of the joints: position, velocity, effort.
  const double* state(std::size_t row) const noexcept {
    return values_.data() + row * joints_.size();
  }
  const double* imu() const noexcept { return state(kStates); }

 private:
  /// Receives a message into `data` and, if it is longer, `more`; returns its size.
  std::size_t take(void* data, std::size_t size, void* more, std::size_t room);
  void wait_at_most(std::chrono::milliseconds limit);
  void greet();
  [[noreturn]] void refuse(std::size_t size);
  [[noreturn]] void fail_ended();
  std::size_t count() const noexcept { return kStates * joints_.size() + kImu; }

  Child child_;
  std::chrono::milliseconds limit_{0};
  std::vector<std::string> joints_;
  std::int64_t step_ns_ = 0;
  std::vector<double> commands_, values_;
  std::array<std::int64_t, 1 + kGroups> head_{};
  bool is_answer_pending_ = false;
};

}  // namespace policy_controllers
