// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <set>
#include <string>

#include <rclcpp_lifecycle/lifecycle_node.hpp>

namespace policy_controllers {

/// Returns which publishers of a topic have another type than its reader; empty if none has. ROS 2
/// does not connect them, without a message on either side. Same as in
/// `policy_inference.nodes.sampling`.
inline std::string find_other_types(const rclcpp_lifecycle::LifecycleNode& node,
                                    const std::string& topic, const std::string& expected) {
  std::set<std::string> others;
  for (const auto& publisher : node.get_publishers_info_by_topic(topic)) {
    if (publisher.topic_type() == expected) continue;
    const auto& space = publisher.node_namespace();
    others.insert(publisher.topic_type() + " from " + space + (space == "/" ? "" : "/") +
                  publisher.node_name());
  }
  std::string text;
  for (const auto& other : others) text += (text.empty() ? "" : ", ") + other;
  return text.empty() ? "" : "expected publishers of " + expected + ", found " + text;
}

}  // namespace policy_controllers
