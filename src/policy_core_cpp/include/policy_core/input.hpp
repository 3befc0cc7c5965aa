// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "policy_core/table.hpp"

namespace policy_core {

using Time = std::optional<std::int64_t>;

/// Tracks the age of one input. Same rules as `policy_core.observation.freshness.Input`; times in
/// ns.
class Input {
 public:
  /// Why stamps were refused as not new.
  enum class Refused : std::int64_t { kNone, kRepeat, kBackward };
  /// Which clock was last set. For `kText`, the step is the number of a saved text.
  enum class Stepped : std::int64_t { kNone, kOurs, kSenders, kText };

  explicit Input(const Part& plan);

  void reset() noexcept;
  /// True if a message with this stamp is new; call it once per message.
  bool is_new(Time stamp_ns, std::int64_t now_ns) noexcept;
  /// Records a new, usable message. `ros_now_ns` is the time on the clock of stamps.
  void accept(std::int64_t now_ns, Time stamp_ns, std::int64_t ros_now_ns) noexcept;
  /// Records that a message was unusable, with the owner's number (> 0) of the reason.
  void reject(std::int64_t problem) noexcept { problem_ = problem; }
  /// Sets how many consecutive earlier messages of a camera had the same image.
  void note_repeats(std::int64_t repeats) noexcept { repeats_ = repeats; }
  Time age_ns(std::int64_t now_ns) const noexcept;
  bool is_stale(std::int64_t now_ns) const noexcept;

  const std::string& name() const noexcept { return name_; }
  Time timeout_ns() const noexcept { return timeout_ns_; }
  bool stops_all() const noexcept { return stops_all_; }
  bool is_perceived() const noexcept { return is_perceived_; }
  std::int64_t problem() const noexcept { return problem_; }
  Time measured_ns() const noexcept { return measured_ns_; }
  Time born_ns() const noexcept { return born_ns_; }
  Stepped stepped() const noexcept { return stepped_; }
  std::int64_t step_ns() const noexcept { return step_ns_; }
  std::int64_t refused() const noexcept { return refused_; }
  Refused refused_stamps() const noexcept { return refused_stamps_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.text("problem", problem_);
    v.step("clock_step", stepped_, step_ns_);
    v.value("measured_ns", measured_ns_);
    v.value("repeats", repeats_);
    v.value("born_ns", born_ns_);
    v.value("came_ns", came_ns_);
    v.value("stamp_ns", stamp_ns_);
    v.value("earlier", earlier_);
    v.value("restarts", restarts_);
    v.value("restarted_ns", restarted_ns_);
    v.value("refused", refused_);
    v.stamps("refused_stamps", refused_stamps_);
    v.value("ahead_ns", ahead_ns_);
    v.value("wall_ns", wall_ns_);
    v.value("seen_wall_ns", seen_wall_ns_);
  }

 private:
  bool goes_on_from(std::int64_t earlier_ns, std::int64_t came_ns, std::int64_t stamp_ns,
                    std::int64_t now_ns) const noexcept;
  std::int64_t delay_ns(std::int64_t now_ns, std::int64_t stamp_ns, std::int64_t wall_ns) noexcept;
  std::int64_t header_age_ns(std::int64_t steady_age_ns, std::int64_t wall_ns) noexcept;
  void note_step(std::int64_t jump_ns, std::int64_t now_ns) noexcept;

  std::string name_;
  Time timeout_ns_;
  bool stops_all_, is_perceived_;
  std::int64_t problem_ = 0;
  Stepped stepped_ = Stepped::kNone;
  std::int64_t step_ns_ = 0;
  Time measured_ns_;
  std::int64_t repeats_ = 0;
  Time born_ns_;
  std::int64_t came_ns_ = 0;
  Time stamp_ns_;
  std::optional<std::pair<std::int64_t, std::int64_t>> earlier_;
  bool restarts_ = false;
  Time restarted_ns_;
  std::int64_t refused_ = 0;
  Refused refused_stamps_ = Refused::kNone;
  std::int64_t ahead_ns_ = 0;
  Time wall_ns_;
  std::int64_t seen_wall_ns_ = 0;
};

}  // namespace policy_core
