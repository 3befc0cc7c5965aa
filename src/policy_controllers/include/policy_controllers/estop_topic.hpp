// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include <rclcpp/rclcpp.hpp>
#include <rclcpp_lifecycle/lifecycle_node.hpp>
#include <std_msgs/msg/bool.hpp>

namespace policy_controllers {

/// The e-stop on the topic `estop`, from any publisher with any quality of service; see
/// `policy_inference.nodes.estop`.
class EstopTopic {
 public:
  EstopTopic(rclcpp_lifecycle::LifecycleNode::SharedPtr node, std::function<void()> press);

 private:
  using Reader = rclcpp::Subscription<std_msgs::msg::Bool>::SharedPtr;

  Reader reader(const rclcpp::QoS& qos);
  void look();

  std::weak_ptr<rclcpp_lifecycle::LifecycleNode> node_;
  std::function<void()> press_;
  rclcpp::CallbackGroup::SharedPtr group_;
  std::vector<Reader> readers_;
  /// Receives presses that were published before it existed; kept while the topic has a transient
  /// local publisher.
  Reader latched_;
  std::string topic_;
  rclcpp::TimerBase::SharedPtr timer_;
};

}  // namespace policy_controllers
