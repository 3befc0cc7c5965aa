// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// robot_sim/SimSystem: the simulated robot of robot_sim as hardware of ros2_control. Time passes as
// the controller manager asks: each write steps the simulation by its period.

#include <algorithm>
#include <array>
#include <cmath>
#include <exception>
#include <memory>
#include <string>
#include <vector>

#include <hardware_interface/system_interface.hpp>
#include <hardware_interface/types/hardware_interface_return_values.hpp>
#include <pluginlib/class_list_macros.hpp>
#include <rclcpp/logging.hpp>
#include <rclcpp_lifecycle/state.hpp>

#include "policy_controllers/sim_link.hpp"

namespace robot_sim {
namespace {

using hardware_interface::CallbackReturn;
using hardware_interface::return_type;

constexpr std::array<const char*, 3> kJointStates = {"position", "velocity", "effort"};
constexpr std::array<const char*, 10> kImu = {
    "orientation.x",         "orientation.y",         "orientation.z",
    "orientation.w",         "angular_velocity.x",    "angular_velocity.y",
    "angular_velocity.z",    "linear_acceleration.x", "linear_acceleration.y",
    "linear_acceleration.z"};
constexpr const char* kSamples = "samples";
/// Of the server, each with a parameter of the hardware of that name.
constexpr std::array<const char*, 6> kArguments = {"robot",    "pose", "faults",
                                                   "friction", "seed", "trace_file"};

}  // namespace

class SimSystem : public hardware_interface::SystemInterface {
 public:
  CallbackReturn on_init(const hardware_interface::HardwareInfo& info) override {
    if (SystemInterface::on_init(info) != CallbackReturn::SUCCESS) return CallbackReturn::ERROR;
    joints_.clear();
    for (const auto& joint : info_.joints) joints_.push_back(joint.name);
    sensed_.assign(3 * joints_.size() + kImu.size(), std::nan(""));
    command_.assign(5 * joints_.size(), 0.0);
    gains_[0] = parameter("stiffness_interface", "kp");
    gains_[1] = parameter("damping_interface", "kd");
    return CallbackReturn::SUCCESS;
  }

  CallbackReturn on_configure(const rclcpp_lifecycle::State&) override try {
    std::vector<std::string> arguments;
    for (const auto* name : kArguments) {
      const auto value = parameter(name, "");
      if (value.empty()) continue;
      auto option = std::string("--") + name;
      std::replace(option.begin() + 2, option.end(), '_', '-');
      arguments.insert(arguments.end(), {option, value});
    }
    link_.reset();
    places_.clear();
    link_ = std::make_unique<policy_controllers::SimLink>(parameter("python", "python3"),
                                                          arguments);
    for (const auto& name : joints_) {
      const auto& known = link_->joints();
      const auto found = std::find(known.begin(), known.end(), name);
      if (found == known.end()) return refuse("joint " + name + ": expected one of the robot");
      places_.push_back(static_cast<std::size_t>(found - known.begin()));
    }
    if (joints_.size() != link_->joints().size()) {
      return refuse("expected " + std::to_string(link_->joints().size()) + " joints, found " +
                    std::to_string(joints_.size()));
    }
    return exchange(0, false) ? CallbackReturn::SUCCESS : CallbackReturn::ERROR;
  } catch (const std::exception& error) {
    return refuse(error.what());
  }

  CallbackReturn on_cleanup(const rclcpp_lifecycle::State&) override {
    link_.reset();
    return CallbackReturn::SUCCESS;
  }

  CallbackReturn on_shutdown(const rclcpp_lifecycle::State&) override {
    link_.reset();
    return CallbackReturn::SUCCESS;
  }

  std::vector<hardware_interface::StateInterface> export_state_interfaces() override {
    std::vector<hardware_interface::StateInterface> found;
    for (std::size_t i = 0; i < joints_.size(); ++i) {
      for (std::size_t row = 0; row < kJointStates.size(); ++row) {
        found.emplace_back(joints_[i], kJointStates[row], &sensed_[row * joints_.size() + i]);
      }
    }
    for (const auto& sensor : info_.sensors) {
      for (const auto& interface : sensor.state_interfaces) {
        const auto place = std::find(kImu.begin(), kImu.end(), interface.name);
        if (place != kImu.end()) {
          found.emplace_back(sensor.name, interface.name,
                             &sensed_[3 * joints_.size() +
                                      static_cast<std::size_t>(place - kImu.begin())]);
        } else if (interface.name == kSamples) {
          // That of the IMU beside its values; of the joints in a sensor that has nothing else.
          const bool is_imu = sensor.state_interfaces.size() > 1;
          found.emplace_back(sensor.name, kSamples, is_imu ? &imu_samples_ : &joint_samples_);
        }
      }
    }
    return found;
  }

  std::vector<hardware_interface::CommandInterface> export_command_interfaces() override {
    std::vector<hardware_interface::CommandInterface> found;
    const std::array<std::string, 5> rows = {"position", "velocity", "effort", gains_[0],
                                             gains_[1]};
    for (std::size_t row = 0; row < rows.size(); ++row) {
      for (std::size_t i = 0; i < joints_.size(); ++i) {
        found.emplace_back(joints_[i], rows[row], &command_[row * joints_.size() + i]);
      }
    }
    return found;
  }

  return_type read(const rclcpp::Time&, const rclcpp::Duration&) override {
    if (!link_) return return_type::OK;
    const auto count = joints_.size();
    const auto& sensed = link_->sensed();
    for (std::size_t i = 0; i < count; ++i) {
      const auto place = places_[i];
      for (std::size_t row = 0; row < 3; ++row) {
        sensed_[row * count + i] = sensed[row * count + place];
      }
    }
    std::copy(sensed.begin() + static_cast<std::ptrdiff_t>(3 * count), sensed.end(),
              sensed_.begin() + static_cast<std::ptrdiff_t>(3 * count));
    joint_samples_ = static_cast<double>(link_->joint_samples());
    imu_samples_ = static_cast<double>(link_->imu_samples());
    return return_type::OK;
  }

  return_type write(const rclcpp::Time&, const rclcpp::Duration& period) override {
    if (!link_) return return_type::OK;
    const auto count = joints_.size();
    bool commands = false;
    for (std::size_t i = 0; i < count; ++i) {
      const auto place = places_[i];
      for (std::size_t row = 0; row < 5; ++row) {
        link_->command()[row * count + place] = command_[row * count + i];
      }
      // Before anybody commands, the drives damp by themselves.
      commands |= command_[3 * count + i] > 0.0 || command_[4 * count + i] > 0.0;
    }
    for (const auto value : command_) commands &= std::isfinite(value);
    // The period that was measured jitters; whole steps keep up with it.
    owed_ns_ += std::min<std::int64_t>(period.nanoseconds(), kMostOwedNs);
    const auto steps = owed_ns_ / link_->step_ns();
    owed_ns_ -= steps * link_->step_ns();
    return exchange(steps * link_->step_ns(), commands) ? return_type::OK : return_type::ERROR;
  }

 private:
  static constexpr std::int64_t kMostOwedNs = 100'000'000;

  std::string parameter(const std::string& name, const std::string& otherwise) const {
    const auto found = info_.hardware_parameters.find(name);
    return found == info_.hardware_parameters.end() ? otherwise : found->second;
  }

  CallbackReturn refuse(const std::string& why) const {
    RCLCPP_ERROR(rclcpp::get_logger("SimSystem"), "%s: %s", info_.name.c_str(), why.c_str());
    return CallbackReturn::ERROR;
  }

  bool exchange(std::int64_t duration_ns, bool commands) {
    if (link_->exchange(duration_ns, commands)) return true;
    RCLCPP_ERROR(rclcpp::get_logger("SimSystem"),
                 "%s: expected an answer of the simulated robot, found none in 10 s, or its end",
                 info_.name.c_str());
    return false;
  }

  std::unique_ptr<policy_controllers::SimLink> link_;
  std::vector<std::string> joints_;
  std::vector<std::size_t> places_;
  std::array<std::string, 2> gains_;
  std::vector<double> sensed_, command_;
  double joint_samples_ = 0.0, imu_samples_ = 0.0;
  std::int64_t owed_ns_ = 0;
};

}  // namespace robot_sim

PLUGINLIB_EXPORT_CLASS(robot_sim::SimSystem, hardware_interface::SystemInterface)
