// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/interfaces.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <sstream>

namespace policy_controllers {
namespace {

using policy_core::Numbers;
using policy_core::PlanError;

/// Rows of the targets with their own interfaces, in this order; the gains follow.
constexpr std::array<const char*, 3> kKinds = {"position", "velocity", "effort"};
constexpr std::size_t kStiffness = 3;

bool has(const std::vector<std::string>& all, const std::string& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

Interfaces states_of(const Facts& facts, const Wiring& wiring) {
  Interfaces found;
  auto& names = found.states;
  for (const auto& field : facts.fields) {
    const bool is_rate = field.source == "angular_velocity";
    if (!is_rate && field.source != "orientation") {
      for (const auto& joint : facts.joints) names.push_back(joint + "/" + field.source);
      continue;
    }
    if (wiring.imu_name.empty()) {
      throw PlanError("imu_name: expected the name of the sensor with " + field.source +
                      " (which the contract needs), found none");
    }
    for (const auto* axis : {".x", ".y", ".z", ".w"}) {
      if (is_rate && axis[1] == 'w') continue;
      names.push_back(wiring.imu_name + "/" + field.source + axis);
    }
  }
  const auto fields = names.size();
  for (std::size_t group = 0; group < facts.groups.size(); ++group) {
    const auto counter = wiring.counters.find(facts.groups[group]);
    if (counter == wiring.counters.end()) continue;
    // A manager lends each interface only once, so groups may share a counter.
    const auto at = std::find(names.begin() + static_cast<std::ptrdiff_t>(fields), names.end(),
                              counter->second) - names.begin();
    const auto place = static_cast<std::size_t>(at) - fields;
    if (place == found.counted.size()) {
      names.push_back(counter->second);
      found.counted.emplace_back();
    }
    found.counted[place].push_back(group);
  }
  return found;
}

/// Throws PlanError unless the drives keep the contract's gains.
void check_kept(const Facts& facts, const char* what, const Numbers& contract,
                const Numbers& kept) {
  const std::string key = std::string("hardware_gains.") + what;
  const auto joints = facts.joints.size();
  for (std::size_t i = 0; i < joints; ++i) {
    if (!std::isnan(contract[i])) continue;
    throw PlanError("gain_interfaces: expected names for stiffness and damping (the " +
                    std::string(what) + " of " + facts.joints[i] +
                    " changes between the contract's modes), found none");
  }
  if (kept.size() != 1 && kept.size() != joints) {
    throw PlanError(key + ": expected the " + what + " that the drives keep (1 value or " +
                    std::to_string(joints) + "), found " + std::to_string(kept.size()) +
                    "; or name the drives' gain_interfaces");
  }
  for (std::size_t i = 0; i < joints; ++i) {
    const double found = kept[kept.size() == 1 ? 0 : i];
    if (std::fabs(found - contract[i]) <= 1e-6 * std::fabs(contract[i])) continue;
    std::ostringstream text;
    text << key << ": " << facts.joints[i] << ": expected " << contract[i]
         << " as in the contract, found " << found
         << "; set the drives to the contract's value, or name their gain_interfaces";
    throw PlanError(text.str());
  }
}

/// True if the robot must follow a joint's targets of this kind.
bool is_needed(const Facts& facts, std::size_t joint, std::size_t kind) {
  if (facts.commanded[joint] == static_cast<std::int64_t>(kind)) return true;
  // A joint that is held in any mode needs a position.
  return kind == 0 && facts.stiffness[joint] != 0.0;
}

}  // namespace

Interfaces interfaces_of(const Facts& facts, const Wiring& wiring) {
  const auto& gains = wiring.gain_interfaces;
  if (!gains.empty() && gains.size() != 2) {
    throw PlanError("gain_interfaces: expected the names of stiffness and damping, or none; found " +
                    listed(gains));
  }
  for (const auto& name : wiring.command_interfaces) {
    if (has({kKinds.begin(), kKinds.end()}, name)) continue;
    throw PlanError("command_interfaces: expected some of position, velocity, effort; found " +
                    name);
  }
  if (gains.empty()) {
    check_kept(facts, "stiffness", facts.stiffness, wiring.stiffness);
    check_kept(facts, "damping", facts.damping, wiring.damping);
  }
  auto found = states_of(facts, wiring);
  const auto joints = facts.joints.size();
  for (std::size_t joint = 0; joint < joints; ++joint) {
    const auto add = [&](const std::string& name, std::size_t row) {
      found.commands.push_back({facts.joints[joint] + "/" + name, row * joints + joint});
    };
    for (std::size_t kind = 0; kind < kKinds.size(); ++kind) {
      const bool is_stated = has(wiring.command_interfaces, kKinds[kind]);
      const bool must = is_needed(facts, joint, kind);
      if (must && !is_stated && !wiring.command_interfaces.empty()) {
        throw PlanError("command_interfaces: expected " + std::string(kKinds[kind]) +
                        " (by which " + facts.joints[joint] + " is commanded), found " +
                        listed(wiring.command_interfaces));
      }
      // Drives with commanded gains add up the terms of all three kinds.
      const bool is_usual = wiring.command_interfaces.empty() && !gains.empty();
      if (must || is_stated || is_usual) add(kKinds[kind], kind);
    }
    for (std::size_t i = 0; i < gains.size(); ++i) add(gains[i], kStiffness + i);
  }
  return found;
}

}  // namespace policy_controllers
