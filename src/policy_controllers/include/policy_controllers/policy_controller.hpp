// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <controller_interface/chainable_controller_interface.hpp>
#include <rclcpp/rclcpp.hpp>

#include "policy_controllers/estop_topic.hpp"
#include "policy_controllers/interfaces.hpp"
#include "policy_controllers/policy_update.hpp"
#include "policy_controllers/status.hpp"

namespace policy_controllers {

/// A policy, or a policy set, as a controller.
///
/// Subscribes: `cmd_vel` (geometry_msgs/Twist, or TwistStamped with `stamped_command`), unless it
/// is chained; `estop` (std_msgs/Bool); for a set `~/switch_to` (std_msgs/String). Publishes:
/// `~/status` (policy_msgs/PolicyStatus). Serves (std_srvs/Trigger): `~/stand`, `~/run`, `~/damp`,
/// `~/estop`, `~/reset`; for a set `~/switch` (policy_msgs/SwitchState). The interface is that of a
/// policy node, so that clients work with both. Exports the references `vx`, `vy` and `wz` if the
/// policy accepts a velocity command.
class PolicyController : public controller_interface::ChainableControllerInterface {
 public:
  using CallbackReturn = controller_interface::CallbackReturn;
  using State = rclcpp_lifecycle::State;

  CallbackReturn on_init() override;
  /// Opens the plan and verifies the models; moves nothing.
  CallbackReturn on_configure(const State& previous) override;
  /// Starts in DAMP.
  CallbackReturn on_activate(const State& previous) override;
  /// Writes the fault command as the last one.
  CallbackReturn on_deactivate(const State& previous) override;
  CallbackReturn on_cleanup(const State& previous) override;
  CallbackReturn on_shutdown(const State& previous) override;
  CallbackReturn on_error(const State& previous) override;

  controller_interface::InterfaceConfiguration command_interface_configuration() const override;
  controller_interface::InterfaceConfiguration state_interface_configuration() const override;

 protected:
  std::vector<hardware_interface::CommandInterface> on_export_reference_interfaces() override;
  // Only one of these overrides a base method: the first on Humble, the second since Jazzy.
  controller_interface::return_type update_reference_from_subscribers();
  controller_interface::return_type update_reference_from_subscribers(
      const rclcpp::Time& time, const rclcpp::Duration& period);
  controller_interface::return_type update_and_write_commands(
      const rclcpp::Time& time, const rclcpp::Duration& period) override;

 private:
  /// State shared with the callbacks; kept alive as long as one of them runs.
  struct Hosted {
    Hosted(const std::string& plan, const std::string& name);
    void press_estop(const std::string& why);
    /// Returns why it is refused; otherwise an empty text.
    std::string reset();
    static std::int64_t read_clock(void* self);

    /// Time of the update under simulated time; -1: real time.
    std::atomic<std::int64_t> simulated_ns{-1};
    std::atomic<bool> is_active{false};
    /// True if the controller was activated or deactivated since the last status.
    std::atomic<bool> has_changed{false};
    PolicyUpdate policy;
    std::unique_ptr<StatusReporter> reporter;
    /// Remembers the e-stop for the next controller of this name.
    std::shared_ptr<std::atomic<bool>> is_pressed;
  };
  using Request = std::function<std::string(Hosted&)>;

  void declare_parameters();
  Wiring wiring() const;
  void configure();
  void listen();
  void serve(const std::string& name, Request request, bool needs_active);
  void serve_switches();
  void listen_to_commands();
  void listen_to_perceived();
  void listen_to_chunks();
  void write(const policy_core::Targets& targets) noexcept;
  void close();

  std::shared_ptr<Hosted> hosted_;
  Interfaces interfaces_;
  /// Shared with the callback that refuses parameters, `parameter_judge_`.
  std::shared_ptr<std::atomic<bool>> is_configured_ = std::make_shared<std::atomic<bool>>(false);
  std::shared_ptr<void> parameter_judge_;
  bool returns_errors_ = false;
  /// True if velocities come from a chained controller; the topic is then ignored.
  bool has_chained_velocity_ = false;
  std::vector<double> values_;
  std::vector<hardware_interface::LoanedStateInterface*> states_;
  std::vector<std::pair<hardware_interface::LoanedCommandInterface*, std::size_t>> commands_;

  std::vector<rclcpp::ServiceBase::SharedPtr> services_;
  std::vector<rclcpp::SubscriptionBase::SharedPtr> subscriptions_;
  std::unique_ptr<EstopTopic> estop_;
  rclcpp::TimerBase::SharedPtr timer_, watch_;
};

}  // namespace policy_controllers
