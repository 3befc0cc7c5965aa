// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <functional>
#include <string>
#include <vector>

#include <rclcpp/rclcpp.hpp>
#include <rclcpp_lifecycle/lifecycle_node.hpp>

namespace policy_controllers {

/// The e-stop on the topic `estop`, from any publisher with any quality of service; see
/// `policy_inference.nodes.estop`.
///
/// The callbacks may still be called by another thread while this object is destroyed, and shortly
/// after.
class EstopTopic {
 public:
  /// `warn` is called ten times a second with the publishers of other types, which ROS 2 does not
  /// connect; with an empty text if there are none.
  EstopTopic(const rclcpp_lifecycle::LifecycleNode::SharedPtr& node,
             const std::function<void()>& press,
             const std::function<void(const std::string&)>& warn);

 private:
  rclcpp::CallbackGroup::SharedPtr group_;
  std::vector<rclcpp::SubscriptionBase::SharedPtr> subscriptions_;
  rclcpp::TimerBase::SharedPtr timer_;
};

}  // namespace policy_controllers
