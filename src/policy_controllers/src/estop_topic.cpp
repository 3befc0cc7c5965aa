// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/estop_topic.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include <rclcpp_lifecycle/lifecycle_node.hpp>
#include <std_msgs/msg/bool.hpp>

#include "policy_controllers/other_types.hpp"

namespace policy_controllers {
namespace {

using Node = rclcpp_lifecycle::LifecycleNode;

constexpr auto kLookEvery = std::chrono::milliseconds(100);

/// Subscribes with one quality of service. The callback holds `press` itself: the executor may
/// still call it after its owner is gone.
rclcpp::SubscriptionBase::SharedPtr subscribe(Node& node, const rclcpp::QoS& qos,
                                              const rclcpp::CallbackGroup::SharedPtr& group,
                                              const std::function<void()>& press) {
  rclcpp::SubscriptionOptions options;
  options.callback_group = group;
  options.use_default_callbacks = false;  // no QoS warnings: it need not match every publisher
  const auto hear = [press](const std_msgs::msg::Bool& message) {
    // False releases nothing: a button that is not pressed repeats False.
    if (message.data) press();
  };
  return node.create_subscription<std_msgs::msg::Bool>("estop", qos, hear, options);
}

/// Receives presses that were published before it existed, subscribed as long as the topic has a
/// transient local publisher; and sees publishers of other types.
struct Latched {
  std::weak_ptr<Node> node;
  rclcpp::CallbackGroup::SharedPtr group;
  std::function<void()> press;
  std::function<void(const std::string&)> warn;
  std::string topic;
  rclcpp::SubscriptionBase::SharedPtr subscription;

  void look() {
    const auto alive = node.lock();
    if (!alive) return;
    const auto others = find_other_types(*alive, topic, "std_msgs/msg/Bool");
    warn(others.empty() ? "" : "estop: " + others + ": not received; make them publish that type");
    const auto publishers = alive->get_publishers_info_by_topic(topic);
    const bool is_kept = std::any_of(publishers.begin(), publishers.end(), [](const auto& each) {
      return each.qos_profile().durability() == rclcpp::DurabilityPolicy::TransientLocal;
    });
    if (!is_kept) {
      subscription.reset();
    } else if (!subscription) {
      subscription = subscribe(*alive, rclcpp::QoS(1).reliable().transient_local(), group, press);
    }
  }
};

}  // namespace

EstopTopic::EstopTopic(const Node::SharedPtr& node, const std::function<void()>& press,
                       const std::function<void(const std::string&)>& warn)
    : group_(node->create_callback_group(rclcpp::CallbackGroupType::MutuallyExclusive)),
      subscriptions_{subscribe(*node, rclcpp::QoS(10).reliable(), group_, press),
                     subscribe(*node, rclcpp::QoS(10).best_effort(), group_, press)} {
  const auto latched = std::make_shared<Latched>(
      Latched{node, group_, press, warn, subscriptions_[0]->get_topic_name(), nullptr});
  latched->look();
  timer_ = node->create_wall_timer(kLookEvery, [latched] { latched->look(); }, group_);
}

}  // namespace policy_controllers
