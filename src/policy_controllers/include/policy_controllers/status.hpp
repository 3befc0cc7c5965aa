// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <policy_msgs/msg/policy_status.hpp>
#include <rclcpp/rclcpp.hpp>
#include <rclcpp_lifecycle/lifecycle_node.hpp>

#include "policy_controllers/policy_update.hpp"

namespace policy_controllers {

/// Publishes `~/status` like a policy node, and logs events.
class StatusReporter {
 public:
  /// `counters`: state interfaces that count measurements, by group.
  StatusReporter(rclcpp_lifecycle::LifecycleNode::SharedPtr node, PolicyUpdate& policy,
                 std::map<std::string, std::string> counters);

  /// Starts to measure the rate; call it for each activation.
  void start();
  /// Callable from any thread except that of the updates.
  void report();
  void log();
  /// Sets what the status adds to the reason, such as an e-stop that is not received; empty: nothing.
  void warn(const std::string& warning);
  std::string warning();

 private:
  void measure_rate(const Report& report);
  void fill_latency(policy_msgs::msg::PolicyStatus& status);
  void fill_inputs(policy_msgs::msg::PolicyStatus& status, const Report& report);
  void fill_set(policy_msgs::msg::PolicyStatus& status, const SetReport& set);

  std::weak_ptr<rclcpp_lifecycle::LifecycleNode> node_;
  rclcpp::Logger logger_;
  PolicyUpdate& policy_;
  std::map<std::string, std::string> counters_;
  rclcpp::Publisher<policy_msgs::msg::PolicyStatus>::SharedPtr publisher_;
  std::mutex mutex_;
  std::deque<std::int64_t> durations_ns_;
  std::optional<std::pair<std::int64_t, std::int64_t>> counted_;
  double rate_hz_ = 0.0;
  std::string warning_;
};

}  // namespace policy_controllers
