// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/status.hpp"

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "policy_controllers/other_types.hpp"

namespace policy_controllers {
namespace {

using policy_msgs::msg::PolicyStatus;

constexpr std::size_t kDurations = 1000;
constexpr std::int64_t kSecondNs = 1'000'000'000;

diagnostic_msgs::msg::KeyValue key_value(const std::string& key, const std::string& value) {
  diagnostic_msgs::msg::KeyValue pair;
  pair.key = key;
  pair.value = value;
  return pair;
}

/// Returns what to add to the text of `cmd_vel`: the publishers that ROS 2 does not connect, with the
/// remedy.
std::string other_commands(const rclcpp_lifecycle::LifecycleNode& node, const std::string& text) {
  const bool is_stamped = node.get_parameter("stamped_command").as_bool();
  const std::string type = is_stamped ? "TwistStamped" : "Twist";
  const auto others = find_other_types(node, "cmd_vel", "geometry_msgs/msg/" + type);
  if (others.empty()) return "";
  return (text.empty() ? "cmd_vel: " : "; ") + others +
         ": not received; stop them, or remap their topic; if they are right, set stamped_command "
         "to " + (is_stamped ? "false" : "true");
}

}  // namespace

StatusReporter::StatusReporter(rclcpp_lifecycle::LifecycleNode::SharedPtr node,
                               PolicyUpdate& policy, std::map<std::string, std::string> counters)
    : node_(node),
      logger_(node->get_logger()),
      policy_(policy),
      counters_(std::move(counters)),
      publisher_(rclcpp::create_publisher<PolicyStatus>(
          node, "~/status", rclcpp::QoS(1).reliable().transient_local())) {}

void StatusReporter::start() {
  const std::lock_guard lock(mutex_);
  counted_.reset();
  rate_hz_ = 0.0;
}

void StatusReporter::log() {
  for (const auto& line : policy_.log()) {
    if (line.is_error) {
      RCLCPP_ERROR(logger_, "%s", line.text.c_str());
    } else {
      RCLCPP_INFO(logger_, "%s", line.text.c_str());
    }
  }
}

void StatusReporter::warn(const std::string& warning) {
  const std::lock_guard lock(mutex_);
  if (warning != warning_ && !warning.empty()) RCLCPP_ERROR(logger_, "%s", warning.c_str());
  warning_ = warning;
}

std::string StatusReporter::warning() {
  const std::lock_guard lock(mutex_);
  return warning_;
}

void StatusReporter::report() {
  log();
  const auto node = node_.lock();
  if (!node) return;
  const std::lock_guard lock(mutex_);
  const auto report = policy_.report();
  const auto& facts = policy_.facts();
  measure_rate(report);
  PolicyStatus status;
  status.stamp = node->now();
  status.mode = static_cast<std::uint8_t>(report.mode);
  status.latched = report.latched;
  status.authority = report.authority;
  status.reason = policy_.reason(report);
  if (!warning_.empty()) status.reason += (status.reason.empty() ? "" : "; ") + warning_;
  status.bundle = facts.path;
  status.bundle_name = facts.name;
  status.bundle_version = facts.version;
  status.bundle_sha256 = facts.sha256;
  status.backend = "onnx";
  status.runs_on = "ONNX Runtime, CPU, 1 thread";
  status.nominal_known = facts.is_nominal_known;
  status.rate_hz = static_cast<double>(kSecondNs) / static_cast<double>(facts.period_ns);
  status.rate_reached_hz = rate_hz_;
  status.ticks = static_cast<std::uint64_t>(report.ticks);
  status.ticks_missed = static_cast<std::uint64_t>(report.missed);
  for (std::size_t i = 0; i < report.counters.size(); ++i) {
    auto& counter = status.guard_counters.emplace_back();
    counter.name = policy_.words().rule(i);
    counter.count = static_cast<std::uint64_t>(report.counters[i]);
  }
  for (const auto& group : facts.groups) {
    const auto counter = counters_.find(group);
    status.telemetry.push_back(
        key_value("freshness." + group, counter == counters_.end()
                                            ? "by changes of its values"
                                            : "by the counter " + counter->second));
  }
  status.telemetry.push_back(key_value("updates_waited", std::to_string(report.waited)));
  fill_latency(status);
  fill_inputs(status, report);
  if (report.set) fill_set(status, *report.set);
  publisher_->publish(status);
}

void StatusReporter::measure_rate(const Report& report) {
  if (!counted_) counted_ = {report.now_ns, report.ticks};
  const auto [then_ns, ticks] = *counted_;
  const auto elapsed_ns = report.now_ns - then_ns;
  if (0 <= elapsed_ns && elapsed_ns < kSecondNs) return;
  counted_ = {report.now_ns, report.ticks};
  if (elapsed_ns < 0) return;
  rate_hz_ = static_cast<double>(report.ticks - ticks) / policy_core::seconds(elapsed_ns);
}

void StatusReporter::fill_latency(PolicyStatus& status) {
  for (auto duration_ns : policy_.durations()) durations_ns_.push_back(duration_ns);
  while (durations_ns_.size() > kDurations) durations_ns_.pop_front();
  if (durations_ns_.empty()) return;
  std::vector<std::int64_t> sorted(durations_ns_.begin(), durations_ns_.end());
  std::sort(sorted.begin(), sorted.end());
  const auto at = [&](double share) {
    const auto last = static_cast<double>(sorted.size() - 1);
    return policy_core::seconds(sorted[static_cast<std::size_t>(std::ceil(last * share))]);
  };
  status.latency_p50_s = at(0.5);
  status.latency_p99_s = at(0.99);
  status.latency_max_s = at(1.0);
}

void StatusReporter::fill_inputs(PolicyStatus& status, const Report& report) {
  const auto node = node_.lock();
  for (const auto& each : report.inputs) {
    auto& input = status.inputs.emplace_back();
    const bool is_command = each.name == "cmd_vel";
    input.name = each.name;
    input.age_s = std::isnan(each.found.a) ? std::numeric_limits<double>::infinity()
                                           : each.found.a * 1e-9;
    // All other inputs are reported with one publisher, such as the robot's hardware.
    input.publishers =
        is_command && node ? static_cast<std::uint32_t>(node->count_publishers(each.name)) : 1;
    input.text = policy_.problem(each);
    if (is_command && node) input.text += other_commands(*node, input.text);
    input.ok = input.text.empty();
  }
}

void StatusReporter::fill_set(PolicyStatus& status, const SetReport& set) {
  auto& words = policy_.words();
  auto& into = status.policy_set.emplace_back();
  into.state = words.state(set.state);
  into.states = words.states();
  into.blending = set.is_blending;
  into.asked = words.state(set.asked);
  into.refused = words.switch_refusal(set.refused);
  into.switches = static_cast<std::uint32_t>(set.switches);
  into.fallbacks = static_cast<std::uint32_t>(set.fallbacks);
  into.last_step_ratio = set.step_ratio;
  if (!set.last) return;
  into.last_from = words.state(set.last->from);
  into.last_to = words.state(set.last->to);
  into.last_reason = words.why(*set.last);
}

}  // namespace policy_controllers
