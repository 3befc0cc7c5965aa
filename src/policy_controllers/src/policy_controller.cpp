// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/policy_controller.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <mutex>
#include <set>
#include <type_traits>

#include <geometry_msgs/msg/twist.hpp>
#include <geometry_msgs/msg/twist_stamped.hpp>
#include <pluginlib/class_list_macros.hpp>
#include <policy_msgs/msg/action_chunk.hpp>
#include <policy_msgs/msg/perceived.hpp>
#include <policy_msgs/srv/switch_state.hpp>
#include <std_msgs/msg/string.hpp>
#include <std_srvs/srv/trigger.hpp>

#include "policy_controllers/compat.hpp"

namespace policy_controllers {
namespace {

using controller_interface::return_type;
using geometry_msgs::msg::Twist;
using geometry_msgs::msg::TwistStamped;
using policy_msgs::msg::ActionChunk;
using PerceivedMessage = policy_msgs::msg::Perceived;
using policy_msgs::srv::SwitchState;
using std_srvs::srv::Trigger;
using Texts = std::vector<std::string>;

constexpr auto kWatchEvery = std::chrono::milliseconds(50);
constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kNotActive = "the controller is not active; activate it first";
/// The e-stop, and the velocity command if the policy accepts one.
constexpr std::array<const char*, 4> kReferences = {"estop", "vx", "vy", "wz"};
/// For each group, the parameter that names its counter.
constexpr std::array<std::pair<const char*, const char*>, 2> kCounters = {
    {{"joint_states", "counters.joint_states"}, {"imu/data", "counters.imu"}}};

template <class Clock>
std::int64_t read() {
  return std::chrono::nanoseconds(Clock::now().time_since_epoch()).count();
}

Velocity velocity_of(const Twist& twist) {
  return {twist.linear.x, twist.linear.y, twist.angular.z};
}

/// Avoids `rclcpp::Time`, which throws for times before 1970; that would end the manager.
std::int64_t ns_of(const builtin_interfaces::msg::Time& stamp) {
  return stamp.sec * std::int64_t{1'000'000'000} + stamp.nanosec;
}

policy_core::Time stamp_of(const std_msgs::msg::Header& header) {
  const auto stamp_ns = ns_of(header.stamp);
  return stamp_ns ? policy_core::Time(stamp_ns) : policy_core::Time();
}

/// Whether the e-stop of the controller with this name is pressed. It outlives the controller: only a
/// reset clears it.
std::shared_ptr<std::atomic<bool>> estop_memory(const std::string& name) {
  static std::mutex mutex;
  static std::map<std::string, std::shared_ptr<std::atomic<bool>>> all;
  const std::lock_guard lock(mutex);
  auto& pressed = all[name];
  if (!pressed) pressed = std::make_shared<std::atomic<bool>>(false);
  return pressed;
}

/// Returns the loaned interface with this name; throws PlanError if it is missing.
template <class Loaned>
Loaned* find(std::vector<Loaned>& loaned, const std::string& name) {
  const auto found = std::find_if(loaned.begin(), loaned.end(),
                                  [&](const Loaned& each) { return each.get_name() == name; });
  if (found == loaned.end()) {
    throw policy_core::PlanError(name + ": expected an interface of the hardware, found none");
  }
  return &*found;
}

}  // namespace

PolicyController::Hosted::Hosted(const std::string& plan, const std::string& name)
    : policy(plan, read_clock, this), is_pressed(estop_memory(name)) {}

void PolicyController::Hosted::press_estop(const std::string& why) {
  *is_pressed = true;
  policy.press_estop(why);
}

std::string PolicyController::Hosted::reset() {
  auto refusal = policy.reset();
  *is_pressed = policy.estop_pressed();
  return refusal;
}

std::int64_t PolicyController::Hosted::read_clock(void* self) {
  const auto simulated_ns = static_cast<Hosted*>(self)->simulated_ns.load();
  return simulated_ns >= 0 ? simulated_ns : read<std::chrono::steady_clock>();
}

controller_interface::CallbackReturn PolicyController::on_init() {
  try {
    declare_parameters();
  } catch (const std::exception& error) {
    RCLCPP_ERROR(get_node()->get_logger(), "%s", error.what());
    return CallbackReturn::ERROR;
  }
  return CallbackReturn::SUCCESS;
}

void PolicyController::declare_parameters() {
  std::set<std::string> names{"update_rate"};
  const auto declare = [&](const std::string& name, const auto& value) {
    auto_declare<std::decay_t<decltype(value)>>(name, value);
    names.insert(name);
  };
  declare("plan", std::string());
  declare("gain_interfaces", Texts());
  declare("command_interfaces", Texts());
  declare("hardware_gains.stiffness", std::vector<double>());
  declare("hardware_gains.damping", std::vector<double>());
  declare("imu_name", std::string());
  for (const auto& [group, name] : kCounters) declare(name, std::string());
  declare("stamped_command", false);
  declare("error_on_fault", false);
  declare("status_rate_hz", 5.0);
  const auto judge = [names, is_configured = is_configured_](
                         const std::vector<rclcpp::Parameter>& parameters) {
    rcl_interfaces::msg::SetParametersResult result;
    result.successful = true;
    for (const auto& parameter : parameters) {
      if (!*is_configured || !names.count(parameter.get_name())) continue;
      result.successful = false;
      result.reason = parameter.get_name() +
                      ": expected an unconfigured controller (it reads its parameters when it is "
                      "configured), found a configured one; clean it up first";
    }
    return result;
  };
  parameter_judge_ = get_node()->add_on_set_parameters_callback(judge);
}

Wiring PolicyController::wiring() const {
  const auto node = get_node();
  Wiring wiring{node->get_parameter("gain_interfaces").as_string_array(),
                node->get_parameter("command_interfaces").as_string_array(),
                node->get_parameter("hardware_gains.stiffness").as_double_array(),
                node->get_parameter("hardware_gains.damping").as_double_array(),
                node->get_parameter("imu_name").as_string(),
                {}};
  for (const auto& [group, name] : kCounters) {
    const auto counter = node->get_parameter(name).as_string();
    if (!counter.empty()) wiring.counters[group] = counter;
  }
  return wiring;
}

controller_interface::CallbackReturn PolicyController::on_configure(const State&) {
  try {
    configure();
  } catch (const std::exception& error) {
    close();
    RCLCPP_ERROR(get_node()->get_logger(), "%s", error.what());
    return CallbackReturn::FAILURE;
  }
  *is_configured_ = true;
  return CallbackReturn::SUCCESS;
}

void PolicyController::configure() {
  const auto node = get_node();
  const auto plan = node->get_parameter("plan").as_string();
  if (plan.empty()) {
    throw policy_core::PlanError(
        "plan: expected the file of a plan, found none; `policy_inference controller-plan BUNDLE "
        "--output FILE` makes one");
  }
  hosted_ = std::make_shared<Hosted>(plan, node->get_fully_qualified_name());
  auto& policy = hosted_->policy;
  if (*hosted_->is_pressed) policy.press_estop("pressed before the controller was configured again");
  const auto rate_hz = get_update_rate();
  if (rate_hz == 0) {
    throw policy_core::PlanError(
        "update_rate: expected the rate of the controller manager, found none; set it as a "
        "parameter of this controller (Humble's manager does not report it)");
  }
  policy.set_update_rate(rate_hz);
  const auto wired = wiring();
  interfaces_ = interfaces_of(policy.facts(), wired);
  for (const auto& groups : interfaces_.counted) policy.count(groups);
  values_.assign(policy.value_count(), kNan);
  reference_interfaces_.assign(policy.facts().takes_command ? kReferences.size() : 1, kNan);
  returns_errors_ = node->get_parameter("error_on_fault").as_bool();
  hosted_->reporter = std::make_unique<StatusReporter>(node, policy, wired.counters);
  listen();
  RCLCPP_INFO(node->get_logger(), "%s %s at %u Hz: %zu joints, %zu command interfaces",
              policy.facts().name.c_str(), policy.facts().version.c_str(), rate_hz,
              policy.facts().joints.size(), interfaces_.commands.size());
}

void PolicyController::listen() {
  const auto node = get_node();
  // An e-stop that is not received must not be relied upon.
  const auto unless_warned = [](std::string (PolicyUpdate::*request)()) {
    return [request](Hosted& hosted) {
      const auto warning = hosted.reporter->warning();
      return warning.empty() ? (hosted.policy.*request)() : warning;
    };
  };
  serve("stand", unless_warned(&PolicyUpdate::stand), true);
  serve("run", unless_warned(&PolicyUpdate::run), true);
  serve("damp", [](Hosted& hosted) { return hosted.policy.damp(); }, true);
  // If a fault deactivates the controller, reset it before it is activated again.
  serve("reset", [](Hosted& hosted) { return hosted.reset(); }, false);
  const auto press = [](Hosted& hosted) {
    hosted.press_estop("pressed by service");
    return std::string();
  };
  serve("estop", press, false);
  estop_ = std::make_unique<EstopTopic>(
      node, [hosted = hosted_] { hosted->press_estop("pressed by topic"); },
      [hosted = hosted_](const std::string& problem) { hosted->reporter->warn(problem); });
  watch_ = node->create_wall_timer(kWatchEvery, [hosted = hosted_] {
    hosted->policy.look_at_tick(hosted->simulated_ns >= 0);
  });
  if (hosted_->policy.facts().takes_command) listen_to_commands();
  listen_to_perceived();
  if (!hosted_->policy.facts().actions.empty()) listen_to_chunks();
  if (hosted_->policy.report().set) serve_switches();
  const auto rate_hz = node->get_parameter("status_rate_hz").as_double();
  if (!(rate_hz > 0.0)) {
    throw policy_core::PlanError("status_rate_hz: expected more than 0, found " +
                                 std::to_string(rate_hz));
  }
  timer_ = node->create_wall_timer(std::chrono::duration<double>(1.0 / rate_hz),
                                   [hosted = hosted_] {
                                     if (hosted->has_changed.exchange(false) ||
                                         hosted->is_active) {
                                       hosted->reporter->report();
                                     }
                                   });
}

void PolicyController::serve(const std::string& name, Request request, bool needs_active) {
  const auto handle = [hosted = hosted_, request, needs_active](
                          const std::shared_ptr<Trigger::Request>,
                          std::shared_ptr<Trigger::Response> response) {
    response->message =
        needs_active && !hosted->is_active ? kNotActive : request(*hosted);
    response->success = response->message.empty();
    if (response->success) response->message = policy_core::Words::mode(hosted->policy.mode());
    hosted->reporter->report();
  };
  services_.push_back(compat::serve<Trigger>(*get_node(), "~/" + name, handle));
}

void PolicyController::serve_switches() {
  const auto ask = [hosted = hosted_](const std::string& state) -> std::string {
    return hosted->is_active ? hosted->policy.switch_to(state) : kNotActive;
  };
  const auto handle = [hosted = hosted_, ask](const std::shared_ptr<SwitchState::Request> request,
                                              std::shared_ptr<SwitchState::Response> response) {
    response->message = ask(request->state);
    response->success = response->message.empty();
    if (response->success) response->message = request->state + " has been requested";
    hosted->reporter->report();
  };
  services_.push_back(compat::serve<SwitchState>(*get_node(), "~/switch", handle));
  const auto hear = [hosted = hosted_, ask,
                     logger = get_node()->get_logger()](const std_msgs::msg::String& message) {
    const auto refusal = ask(message.data);
    if (!refusal.empty()) RCLCPP_WARN(logger, "switch_to: %s", refusal.c_str());
    hosted->reporter->report();
  };
  subscriptions_.push_back(get_node()->create_subscription<std_msgs::msg::String>(
      "~/switch_to", rclcpp::QoS(1).reliable(), hear));
}

void PolicyController::listen_to_commands() {
  const auto node = get_node();
  const auto qos = rclcpp::QoS(1).best_effort();
  if (node->get_parameter("stamped_command").as_bool()) {
    const auto hear = [hosted = hosted_](const TwistStamped& message) {
      hosted->policy.hear(velocity_of(message.twist), stamp_of(message.header));
    };
    subscriptions_.push_back(node->create_subscription<TwistStamped>("cmd_vel", qos, hear));
  } else {
    const auto hear = [hosted = hosted_](const Twist& message) {
      hosted->policy.hear(velocity_of(message), {});
    };
    subscriptions_.push_back(node->create_subscription<Twist>("cmd_vel", qos, hear));
  }
}

void PolicyController::listen_to_perceived() {
  const auto& perceived = hosted_->policy.facts().perceived;
  for (std::size_t place = 0; place < perceived.size(); ++place) {
    const auto hear = [hosted = hosted_, place](const PerceivedMessage& message) {
      hosted->policy.hear(place, message.header.frame_id, message.data, message.problem,
                          stamp_of(message.header));
    };
    subscriptions_.push_back(get_node()->create_subscription<PerceivedMessage>(
        perceived[place].topic, rclcpp::QoS(1).best_effort(), hear));
  }
}

void PolicyController::listen_to_chunks() {
  const auto hear = [hosted = hosted_, logger = get_node()->get_logger(),
                     clock = get_node()->get_clock()](const ActionChunk& message) {
    const auto age_ns = clock->now().nanoseconds() - ns_of(message.stamp);
    const auto refusal = hosted->policy.hear(
        Chunk{message.names, message.period_s, message.steps, message.data, age_ns});
    if (!refusal.empty()) {
      RCLCPP_WARN_THROTTLE(logger, *clock, 1000, "action_chunk refused: %s", refusal.c_str());
    }
  };
  subscriptions_.push_back(get_node()->create_subscription<ActionChunk>(
      "action_chunk", rclcpp::QoS(10).reliable(), hear));
}

controller_interface::CallbackReturn PolicyController::on_activate(const State&) {
  states_.clear();
  commands_.clear();
  try {
    for (const auto& name : interfaces_.states) states_.push_back(find(state_interfaces_, name));
    for (const auto& each : interfaces_.commands) {
      commands_.emplace_back(find(command_interfaces_, each.name), each.place);
    }
  } catch (const std::exception& error) {
    RCLCPP_ERROR(get_node()->get_logger(), "%s", error.what());
    return CallbackReturn::FAILURE;
  }
  std::fill(reference_interfaces_.begin(), reference_interfaces_.end(), kNan);
  std::fill(values_.begin(), values_.end(), kNan);
  hosted_->simulated_ns = get_node()->get_parameter("use_sim_time").as_bool()
                              ? get_node()->now().nanoseconds()
                              : -1;
  if (!hosted_->policy.start()) {
    RCLCPP_ERROR(get_node()->get_logger(), "a request hangs; restart the process");
    return CallbackReturn::FAILURE;
  }
  hosted_->reporter->start();
  hosted_->is_active = hosted_->has_changed = true;
  return CallbackReturn::SUCCESS;
}

controller_interface::CallbackReturn PolicyController::on_deactivate(const State&) {
  hosted_->is_active = false;
  if (const auto* targets = hosted_->policy.stop()) write(*targets);
  hosted_->has_changed = true;
  states_.clear();
  commands_.clear();
  return CallbackReturn::SUCCESS;
}

controller_interface::CallbackReturn PolicyController::on_cleanup(const State&) {
  close();
  return CallbackReturn::SUCCESS;
}

controller_interface::CallbackReturn PolicyController::on_shutdown(const State&) {
  close();
  return CallbackReturn::SUCCESS;
}

controller_interface::CallbackReturn PolicyController::on_error(const State&) {
  close();
  return CallbackReturn::SUCCESS;
}

void PolicyController::close() {
  services_.clear();
  subscriptions_.clear();
  estop_.reset();
  timer_.reset();
  watch_.reset();
  *is_configured_ = false;
  if (hosted_ && hosted_->reporter) hosted_->reporter->log();
  // A chained controller may have pressed it.
  if (hosted_ && hosted_->policy.estop_pressed()) *hosted_->is_pressed = true;
  hosted_.reset();
}

controller_interface::InterfaceConfiguration PolicyController::command_interface_configuration()
    const {
  controller_interface::InterfaceConfiguration found{
      controller_interface::interface_configuration_type::INDIVIDUAL, {}};
  for (const auto& each : interfaces_.commands) found.names.push_back(each.name);
  return found;
}

controller_interface::InterfaceConfiguration PolicyController::state_interface_configuration()
    const {
  return {controller_interface::interface_configuration_type::INDIVIDUAL, interfaces_.states};
}

std::vector<hardware_interface::CommandInterface>
PolicyController::on_export_reference_interfaces() {
  std::vector<hardware_interface::CommandInterface> references;
  for (std::size_t i = 0; i < reference_interfaces_.size(); ++i) {
    references.emplace_back(get_node()->get_name(), kReferences[i], &reference_interfaces_[i]);
  }
  return references;
}

return_type PolicyController::update_reference_from_subscribers() { return return_type::OK; }

return_type PolicyController::update_reference_from_subscribers(const rclcpp::Time&,
                                                                const rclcpp::Duration&) {
  return return_type::OK;
}

return_type PolicyController::update_and_write_commands(const rclcpp::Time& time,
                                                        const rclcpp::Duration&) {
  auto ros_now_ns = read<std::chrono::system_clock>();
  if (hosted_->simulated_ns >= 0) hosted_->simulated_ns = ros_now_ns = time.nanoseconds();
  for (std::size_t i = 0; i < states_.size(); ++i) {
    values_[i] = compat::read(*states_[i]).value_or(values_[i]);
  }
  Velocity velocity{kNan, kNan, kNan};
  if (!is_in_chained_mode()) {
    has_chained_velocity_ = false;
  } else {
    if (reference_interfaces_.front() > 0.0) hosted_->policy.press_estop();
    std::copy(reference_interfaces_.begin() + 1, reference_interfaces_.end(), velocity.begin());
    for (double value : velocity) has_chained_velocity_ |= !std::isnan(value);
    // a value that is not written again must expire
    std::fill(reference_interfaces_.begin(), reference_interfaces_.end(), kNan);
  }
  const auto* targets = hosted_->policy.update(
      values_.data(), has_chained_velocity_ ? &velocity : nullptr, ros_now_ns);
  if (targets) write(*targets);
  return returns_errors_ && hosted_->policy.is_latched() ? return_type::ERROR : return_type::OK;
}

void PolicyController::write(const policy_core::Targets& targets) noexcept {
  for (const auto& [interface, place] : commands_) {
    compat::write(*interface, targets.block()[place]);
  }
}

}  // namespace policy_controllers

PLUGINLIB_EXPORT_CLASS(policy_controllers::PolicyController,
                       controller_interface::ChainableControllerInterface)
