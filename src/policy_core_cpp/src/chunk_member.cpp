// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <algorithm>

#include "policy_core/policy_set.hpp"

namespace policy_core {

ChunkMember::ChunkMember(const Part& plan, RobotState& sensed, const std::vector<Input>& inputs,
                         Numbers& targets, std::size_t joints, std::int64_t number,
                         std::int64_t& asked_ns)
    : Member(plan, sensed, targets, joints),
      policy_(
          plan.at("policy"), state_, inputs,
          [](void* context) { return *static_cast<std::int64_t*>(context); }, &asked_ns, number),
      longest_hold_ns_(plan.count("longest_hold_ns")) {
  check_joints_of(policy_);
  for (auto place : plan.places("cameras", inputs.size())) {
    const auto at = static_cast<std::size_t>(place);
    cameras_.emplace_back(&inputs[at], at);
  }
  reset();
}

void ChunkMember::reset() noexcept {
  Member::reset();
  policy_.reset();
  const auto& command = policy_.action().command;
  std::copy(command.begin(), command.end(), command_.begin());
  held_.reset();
  held_since_ns_ = held_until_ns_ = 0;
}

void ChunkMember::enter(const Numbers& command) noexcept {
  Member::enter(command);
  follow(command);
}

void ChunkMember::follow(const Numbers& command) noexcept {
  auto& own = policy_.action().command;
  for (std::size_t i = 0; i < places_.size(); ++i) {
    own[i] = command_[i] = command[static_cast<std::size_t>(places_[i])];
  }
}

void ChunkMember::pause(std::int64_t duration_ns) noexcept {
  if (!held_) policy_.pause(duration_ns);  // else `infer` excludes all the time that has passed
}

Policy::Answer ChunkMember::infer(std::int64_t now_ns) noexcept {
  if (held_) {
    policy_.pause(now_ns - held_until_ns_);
    held_until_ns_ = now_ns;
  }
  look();
  auto answer = ask(now_ns);
  if (answer == Policy::Answer::kError) return answer;
  if (answer != Policy::Answer::kNoTarget) {
    held_.reset();
  } else {
    if (!held_) held_since_ns_ = held_until_ns_ = now_ns;
    held_ = failure_;
    const auto held_ns = now_ns - held_since_ns_;
    failure_.held_s = seconds(held_ns);
    if (held_ns > longest_hold_ns_) return answer;
    answer = Policy::Answer::kFinite;
  }
  has_answered_ = true;
  return answer;
}

Policy::Answer ChunkMember::ask(std::int64_t now_ns) noexcept {
  for (const auto& [camera, place] : cameras_) {
    if (!camera->is_stale(now_ns)) continue;
    failure_ = stale_reason(*camera, place, now_ns);
    return Policy::Answer::kNoTarget;
  }
  const auto answer = policy_.infer();
  failure_ = policy_.failure();
  return answer;
}

Rules ChunkMember::commit() noexcept {
  Rules clipped = 0;
  if (has_answered_ && !held_) {
    const auto& command = policy_.commit();
    std::copy(command.begin(), command.end(), command_.begin());
    clipped = policy_.action().clipped;
  }
  has_answered_ = false;
  pass();
  return clipped;
}

}  // namespace policy_core
