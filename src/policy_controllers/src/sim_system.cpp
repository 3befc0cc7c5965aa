// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// robot_sim/SimSystem: a simulated robot as hardware of ros2_control; docs/ros2_control.md.

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "hardware_interface/system_interface.hpp"
#include "hardware_interface/types/hardware_interface_return_values.hpp"
#include "pluginlib/class_list_macros.hpp"
#include "policy_controllers/sim_link.hpp"
#include "rclcpp/logging.hpp"
#include "rclcpp_lifecycle/state.hpp"

// Exporting interfaces by value is deprecated since Jazzy, but Humble supports nothing else.
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"

namespace robot_sim {
namespace {

using hardware_interface::CallbackReturn;
using hardware_interface::CommandInterface;
using hardware_interface::InterfaceInfo;
using hardware_interface::return_type;
using hardware_interface::StateInterface;
using policy_controllers::SimLink;

const char* const kJoint[SimLink::kStates] = {"position", "velocity", "effort"};
/// In the order of `SimLink::imu`, then of its groups.
const char* const kSensors[SimLink::kImu + SimLink::kGroups] = {
    "imu/orientation.x",         "imu/orientation.y",         "imu/orientation.z",
    "imu/orientation.w",         "imu/angular_velocity.x",    "imu/angular_velocity.y",
    "imu/angular_velocity.z",    "imu/linear_acceleration.x", "imu/linear_acceleration.y",
    "imu/linear_acceleration.z", "joints/samples",            "imu/samples",
};
/// Longest pause of the manager that the simulation makes up for; the rest is skipped.
constexpr std::int64_t kLongestPauseNs = 100'000'000;
constexpr auto kStartLimit = std::chrono::seconds(60), kAnswerLimit = std::chrono::seconds(2);

using Parameters = std::unordered_map<std::string, std::string>;
using Memory = std::map<std::string, double*>;
using Interfaces = std::vector<std::pair<std::pair<std::string, std::string>, double*>>;

/// Removes and returns a parameter; `otherwise` if it is missing.
std::string take(Parameters& parameters, const char* name, const char* otherwise) {
  const auto found = parameters.extract(name);
  return found.empty() ? otherwise : found.mapped();
}

double take_number(Parameters& parameters, const char* name, const char* otherwise) {
  const auto text = take(parameters, name, otherwise);
  std::istringstream words(text);
  double value = 0.0;
  if (!(words >> value) || !words.eof() || !(value >= 0.0)) {
    throw std::runtime_error(std::string(name) + ": expected a number >= 0, found '" + text + "'");
  }
  return value;
}

/// Adds the interfaces of a joint or sensor of the URDF, with their memory.
void add(const std::string& part, const std::vector<InterfaceInfo>& listed, const Memory& known,
         Interfaces& out) {
  for (const auto& interface : listed) {
    const auto found = known.find(part + "/" + interface.name);
    if (found == known.end()) {
      std::string names;
      for (const auto& [name, memory] : known) {
        if (name.compare(0, part.size() + 1, part + "/") == 0) names += " " + name;
      }
      throw std::runtime_error("URDF: " + part + ": expected" +
                               (names.empty() ? " the joints and the sensors imu and joints" : names) +
                               ", found " + interface.name);
    }
    out.push_back({{part, interface.name}, found->second});
  }
}

template <class Interface>
std::vector<Interface> exported(const Interfaces& interfaces) {
  std::vector<Interface> all;
  for (const auto& [name, memory] : interfaces) all.emplace_back(name.first, name.second, memory);
  return all;
}

}  // namespace

/// Sends the command in `write`, and receives the robot's answer in the next `read`, so that the
/// robot moves while the manager sleeps. Simulated time follows the manager's.
class SimSystem : public hardware_interface::SystemInterface {
 public:
  CallbackReturn on_init(const hardware_interface::HardwareInfo& info) override {
    info_ = info;
    const bool is_done = attempt([this] { read_description(); });
    return is_done ? CallbackReturn::SUCCESS : CallbackReturn::ERROR;
  }

  CallbackReturn on_configure(const rclcpp_lifecycle::State&) override {
    const bool is_done = attempt([this] { start(); });
    return is_done ? CallbackReturn::SUCCESS : CallbackReturn::ERROR;
  }

  CallbackReturn on_activate(const rclcpp_lifecycle::State&) override { return release(); }
  CallbackReturn on_deactivate(const rclcpp_lifecycle::State&) override { return release(); }
  CallbackReturn on_cleanup(const rclcpp_lifecycle::State&) override { return stop(); }
  CallbackReturn on_shutdown(const rclcpp_lifecycle::State&) override { return stop(); }
  CallbackReturn on_error(const rclcpp_lifecycle::State&) override { return stop(); }

  std::vector<StateInterface> export_state_interfaces() override {
    return exported<StateInterface>(states_);
  }
  std::vector<CommandInterface> export_command_interfaces() override {
    return exported<CommandInterface>(commands_);
  }

  /// A joint that is claimed for the first time holds its position, with its current gains.
  return_type perform_command_mode_switch(const std::vector<std::string>& begun,
                                          const std::vector<std::string>&) override {
    for (std::size_t i = 0; i < count(); ++i) {
      const auto& joint = info_.joints[i].name;
      const bool is_begun = std::any_of(begun.begin(), begun.end(), [&joint](const auto& name) {
        return name.compare(0, joint.size(), joint) == 0 && name[joint.size()] == '/';
      });
      if (!is_begun || is_claimed_[i]) continue;
      is_claimed_[i] = true;
      command_of(SimLink::kPosition)[i] = state_[i];
      command_of(SimLink::kVelocity)[i] = command_of(SimLink::kEffort)[i] = 0.0;
    }
    return return_type::OK;
  }

  return_type read(const rclcpp::Time&, const rclcpp::Duration&) override {
    const bool is_done = attempt([this] {
      link_->receive();
      show();
    });
    return is_done ? return_type::OK : return_type::ERROR;
  }

  return_type write(const rclcpp::Time&, const rclcpp::Duration& period) override {
    behind_ns_ = std::clamp(behind_ns_ + period.nanoseconds(), -period_ns_, kLongestPauseNs);
    const auto periods = (behind_ns_ + period_ns_ / 2) / period_ns_;
    if (periods < 1) return return_type::OK;
    behind_ns_ -= periods * period_ns_;
    const bool is_done = attempt([this, periods] { command(periods * period_ns_); });
    return is_done ? return_type::OK : return_type::ERROR;
  }

 private:
  std::size_t count() const noexcept { return info_.joints.size(); }
  double* command_of(std::size_t row) noexcept { return command_.data() + row * count(); }

  /// Reads parameters and interfaces of the URDF.
  void read_description() {
    auto parameters = info_.hardware_parameters;
    std::istringstream gains(take(parameters, "gain_interfaces", "kp kd"));
    const std::vector<std::string> gain_names{std::istream_iterator<std::string>(gains), {}};
    if (gain_names.size() != 2) {
      throw std::runtime_error("gain_interfaces: expected two names, such as 'kp kd', found " +
                               std::to_string(gain_names.size()));
    }
    const auto rate_hz = take_number(parameters, "update_rate", "500");
    if (rate_hz <= 0.0) throw std::runtime_error("update_rate: expected a rate in Hz, found 0");
    period_ns_ = std::llround(1e9 / rate_hz);
    command_.assign(SimLink::kCommands * count(), 0.0);
    const auto stiffness = take_number(parameters, "stiffness", "0");
    const auto damping = take_number(parameters, "damping", "0");
    std::fill_n(command_of(SimLink::kStiffness), count(), stiffness);
    std::fill_n(command_of(SimLink::kDamping), count(), damping);
    is_claimed_.assign(count(), false);
    words_ = {take(parameters, "python", "python3"), "-m", "robot_sim.sim_server"};
    for (const auto& [name, value] : parameters) {
      auto option = "--" + name;
      std::replace(option.begin(), option.end(), '_', '-');
      words_.push_back(option + "=" + value);
    }
    find_interfaces(gain_names);
  }

  /// Finds the memory of each interface in the URDF.
  void find_interfaces(const std::vector<std::string>& gain_names) {
    state_.assign(SimLink::kStates * count() + SimLink::kImu + SimLink::kGroups, std::nan(""));
    Memory states, commands;
    for (std::size_t i = 0; i < count(); ++i) {
      const auto joint = info_.joints[i].name + "/";
      for (std::size_t row = 0; row < SimLink::kStates; ++row) {
        states[joint + kJoint[row]] = &state_[row * count() + i];
        commands[joint + kJoint[row]] = command_of(row) + i;
      }
      commands[joint + gain_names[0]] = command_of(SimLink::kStiffness) + i;
      commands[joint + gain_names[1]] = command_of(SimLink::kDamping) + i;
    }
    double* next = &state_[SimLink::kStates * count()];
    for (const auto* name : kSensors) states[name] = next++;
    for (const auto& joint : info_.joints) {
      add(joint.name, joint.state_interfaces, states, states_);
      add(joint.name, joint.command_interfaces, commands, commands_);
    }
    for (const auto& one : info_.sensors) add(one.name, one.state_interfaces, states, states_);
  }

  /// Starts the robot, and looks up where the URDF's joints are in the robot's order.
  void start() {
    link_ = std::make_unique<SimLink>(words_, kStartLimit, kAnswerLimit);
    const auto& robot = link_->joints();
    places_.clear();
    for (const auto& joint : info_.joints) {
      const auto found = std::find(robot.begin(), robot.end(), joint.name);
      if (found != robot.end()) places_.push_back(std::size_t(found - robot.begin()));
    }
    if (places_.size() != robot.size() || places_.size() != count()) {
      std::string expected, names;
      for (const auto& name : robot) expected += " " + name;
      for (const auto& joint : info_.joints) names += " " + joint.name;
      throw std::runtime_error("URDF: expected the joints" + expected + "; found" + names);
    }
    if (period_ns_ % link_->step_ns() != 0) {
      throw std::runtime_error("update_rate: expected a period that is a multiple of the physics "
                               "step (" + std::to_string(link_->step_ns()) + " ns), found " +
                               std::to_string(period_ns_) + " ns");
    }
    behind_ns_ = 0;
    show();
  }

  /// Copies the robot's last answer into the state interfaces.
  void show() {
    auto* out = state_.data();
    for (std::size_t row = 0; row < SimLink::kStates; ++row) {
      for (const auto place : places_) *out++ = link_->state(row)[place];
    }
    out = std::copy_n(link_->imu(), SimLink::kImu, out);
    *out++ = static_cast<double>(link_->samples(SimLink::kJoints));
    *out = static_cast<double>(link_->samples(SimLink::kBody));
  }

  /// Advances simulated time. A joint that was never claimed is limp; if none was, all damp.
  void command(std::int64_t duration_ns) {
    for (std::size_t row = 0; row < SimLink::kCommands; ++row) {
      auto* sent = link_->command(SimLink::Command(row));
      for (std::size_t i = 0; i < count(); ++i) {
        sent[places_[i]] = is_claimed_[i] ? command_of(row)[i] : 0.0;
      }
    }
    link_->send(duration_ns, std::count(is_claimed_.begin(), is_claimed_.end(), true) > 0);
  }

  CallbackReturn release() {
    std::fill(is_claimed_.begin(), is_claimed_.end(), false);
    return CallbackReturn::SUCCESS;
  }

  CallbackReturn stop() {
    link_.reset();
    return release();
  }

  template <class Act>
  bool attempt(Act act) noexcept {
    try {
      act();
      return true;
    } catch (const std::exception& error) {
      RCLCPP_ERROR(rclcpp::get_logger("SimSystem"), "%s: %s", info_.name.c_str(), error.what());
      return false;
    }
  }

  std::vector<std::string> words_;
  std::int64_t period_ns_ = 0, behind_ns_ = 0;
  Interfaces states_, commands_;
  /// Rows with the joints in the URDF's order; in `state_`, the sensors follow.
  std::vector<double> state_, command_;
  std::vector<bool> is_claimed_;
  /// Indices of the URDF's joints in the robot's order.
  std::vector<std::size_t> places_;
  std::unique_ptr<SimLink> link_;
};

}  // namespace robot_sim

PLUGINLIB_EXPORT_CLASS(robot_sim::SimSystem, hardware_interface::SystemInterface)
