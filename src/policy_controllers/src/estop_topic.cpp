// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/estop_topic.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

namespace policy_controllers {
namespace {

constexpr auto kLookEvery = std::chrono::milliseconds(100);

}  // namespace

EstopTopic::EstopTopic(rclcpp_lifecycle::LifecycleNode::SharedPtr node,
                       std::function<void()> press)
    : node_(node),
      press_(std::move(press)),
      group_(node->create_callback_group(rclcpp::CallbackGroupType::MutuallyExclusive)),
      readers_{reader(rclcpp::QoS(10).reliable()), reader(rclcpp::QoS(10).best_effort())},
      topic_(readers_[0]->get_topic_name()),
      timer_(node->create_wall_timer(kLookEvery, [this] { look(); }, group_)) {
  look();
}

EstopTopic::Reader EstopTopic::reader(const rclcpp::QoS& qos) {
  rclcpp::SubscriptionOptions options;
  options.callback_group = group_;
  options.use_default_callbacks = false;  // no QoS warnings: it need not match every publisher
  const auto hear = [this](const std_msgs::msg::Bool& message) {
    // False releases nothing: a button that is not pressed repeats False.
    if (message.data) press_();
  };
  return node_.lock()->create_subscription<std_msgs::msg::Bool>("estop", qos, hear, options);
}

void EstopTopic::look() {
  const auto node = node_.lock();
  if (!node) return;
  const auto publishers = node->get_publishers_info_by_topic(topic_);
  const bool is_kept = std::any_of(publishers.begin(), publishers.end(), [](const auto& each) {
    return each.qos_profile().durability() == rclcpp::DurabilityPolicy::TransientLocal;
  });
  if (!is_kept) {
    latched_.reset();
  } else if (!latched_) {
    latched_ = reader(rclcpp::QoS(1).reliable().transient_local());
  }
}

}  // namespace policy_controllers
