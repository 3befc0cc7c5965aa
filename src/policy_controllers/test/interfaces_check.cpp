// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// interfaces_check PLAN [NAME VALUES]...: prints what a controller with these parameters reads and
// writes, or why it is refused, with status 1. VALUES: separated by commas.

#include <cstdio>
#include <sstream>

#include "policy_controllers/interfaces.hpp"

using namespace policy_controllers;

namespace {

std::vector<std::string> parts(const std::string& values) {
  std::vector<std::string> found;
  std::istringstream stream(values);
  for (std::string part; std::getline(stream, part, ',');) found.push_back(part);
  return found;
}

policy_core::Numbers numbers(const std::string& values) {
  policy_core::Numbers found;
  for (const auto& part : parts(values)) found.push_back(std::stod(part));
  return found;
}

}  // namespace

int main(int count, char** arguments) try {
  if (count < 2) return 2;
  Wiring wiring;
  for (int i = 2; i + 1 < count; i += 2) {
    const std::string name = arguments[i], values = arguments[i + 1];
    if (name == "gain_interfaces") wiring.gain_interfaces = parts(values);
    if (name == "command_interfaces") wiring.command_interfaces = parts(values);
    if (name == "stiffness") wiring.stiffness = numbers(values);
    if (name == "damping") wiring.damping = numbers(values);
    if (name == "imu_name") wiring.imu_name = values;
    if (name == "joint_states" || name == "imu/data") wiring.counters[name] = values;
  }
  const PolicyUpdate policy(arguments[1], [](void*) -> std::int64_t { return 0; }, nullptr);
  const auto found = interfaces_of(policy.facts(), wiring);
  for (const auto& name : found.states) std::printf("state %s\n", name.c_str());
  for (const auto& each : found.commands) {
    std::printf("command %s %zu\n", each.name.c_str(), each.place);
  }
} catch (const std::exception& error) {
  std::fprintf(stderr, "%s\n", error.what());
  return 1;
}
