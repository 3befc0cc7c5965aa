// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace policy_controllers {

/// The simulated robot of `robot_sim.sim_server` as a child process, in lockstep; the protocol is
/// described there.
class SimLink {
 public:
  /// Starts it and waits until it has greeted. Throws std::runtime_error.
  /// `arguments`: of `python -m robot_sim.sim_server`, without the channel.
  SimLink(const std::string& python, const std::vector<std::string>& arguments);
  /// Ends the process.
  ~SimLink();
  SimLink(const SimLink&) = delete;

  const std::vector<std::string>& joints() const noexcept { return joints_; }
  std::int64_t step_ns() const noexcept { return step_ns_; }
  /// What is commanded, [5, joints]: position, velocity, effort, stiffness, damping.
  std::vector<double>& command() noexcept { return command_; }
  /// What was sensed, [3, joints]: position, velocity, effort; then orientation x y z w, angular
  /// velocity, linear acceleration.
  const std::vector<double>& sensed() const noexcept { return sensed_; }
  std::int64_t time_ns() const noexcept { return head_[0]; }
  /// How many samples of the joints and of the IMU there were.
  std::int64_t joint_samples() const noexcept { return head_[1]; }
  std::int64_t imu_samples() const noexcept { return head_[2]; }

  /// Commands, unless the drives shall damp by themselves, and steps; false where there is no answer
  /// within 10 s. Allocates nothing.
  bool exchange(std::int64_t duration_ns, bool commands) noexcept;

 private:
  bool receive(void* data, std::size_t size) noexcept;
  void end() noexcept;

  pid_t process_ = -1;
  int channel_ = -1;
  std::vector<std::string> joints_;
  std::int64_t step_ns_ = 0;
  std::vector<double> command_, sensed_;
  std::vector<std::uint8_t> request_;
  std::int64_t head_[3] = {};
};

}  // namespace policy_controllers
