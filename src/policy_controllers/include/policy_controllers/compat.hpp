// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Differences between Humble, Jazzy and Kilted.

#include <optional>
#include <string>

#include <rclcpp/rclcpp.hpp>

namespace policy_controllers::compat {

template <class Loaned>
auto read(const Loaned& loaned, int) -> decltype(loaned.get_optional()) {
  return loaned.get_optional();
}
template <class Loaned>
std::optional<double> read(const Loaned& loaned, long) {  // Humble
  return loaned.get_value();
}
/// The value of a state interface; none while another thread locks it.
template <class Loaned>
std::optional<double> read(const Loaned& loaned) {
  return read(loaned, 0);
}

/// Writes a command interface; Humble reports no result.
template <class Loaned>
void write(Loaned& loaned, double value) {
  (void)loaned.set_value(value);
}

template <class Service, class Node, class Callback>
auto serve(Node& node, const std::string& name, Callback callback, const rclcpp::QoS& qos, int)
    -> decltype(node.template create_service<Service>(name, callback, qos)) {
  return node.template create_service<Service>(name, callback, qos);
}
template <class Service, class Node, class Callback>
auto serve(Node& node, const std::string& name, Callback callback, const rclcpp::QoS& qos, long) {
  return node.template create_service<Service>(name, callback, qos.get_rmw_qos_profile());
}
/// Serves requests; none is lost even if many arrive simultaneously.
template <class Service, class Node, class Callback>
auto serve(Node& node, const std::string& name, Callback callback) {
  return serve<Service>(node, name, callback, rclcpp::QoS(2000), 0);
}

}  // namespace policy_controllers::compat
