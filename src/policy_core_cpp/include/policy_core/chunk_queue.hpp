// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "policy_core/input.hpp"
#include "policy_core/ring.hpp"
#include "policy_core/table.hpp"

namespace policy_core {

/// Targets of a number of ticks, rad: `count` rows of `columns`, with memory for a fixed number.
struct Rows {
  Rows() = default;
  Rows(std::size_t capacity, std::size_t width) : columns(width), values(capacity * width) {}

  std::size_t columns = 0, count = 0;
  Numbers values;

  std::size_t capacity() const noexcept { return columns ? values.size() / columns : 0; }
  double* operator[](std::size_t row) noexcept { return values.data() + row * columns; }
  const double* operator[](std::size_t row) const noexcept {
    return values.data() + row * columns;
  }
  /// Copies rows of another one of the same width, beginning with one of its rows.
  void take(const Rows& other, std::size_t first, std::size_t rows) noexcept;
};

/// Selects the chunk step for each tick; combines the four kinds of
/// `policy_core.members.chunk.queue`.
class ChunkQueue {
 public:
  ChunkQueue(const Part& plan, std::size_t size, std::size_t actions);

  void reset() noexcept;
  /// Adds a new chunk whose first step belongs to `first_tick`, at most `now_tick`.
  void add(const Rows& chunk, std::int64_t first_tick, std::int64_t now_tick,
           const Numbers& last_target) noexcept;
  bool wants_chunk(std::int64_t tick) const noexcept;
  /// Writes the target for a tick; returns true if there is one.
  bool target(std::int64_t tick, Numbers& out) noexcept;
  void advance() noexcept;
  std::int64_t left(std::int64_t tick) const noexcept;
  /// Writes the targets that a chunk must continue from a tick on; none if nothing is planned.
  void planned(std::int64_t first_tick, Rows& into) const noexcept;

  /// A chunk that is part of a mean, and the tick of its first step.
  using Said = std::pair<std::int64_t, Rows>;

  template <class Visitor>
  void visit(Visitor& v) {
    if (kind_ == Kind::kSynchronous) v.plain("queue", queue_);
    if (kind_ == Kind::kEnsemble) v.plain("chunks", said_);
    if (!has_plan()) return;
    v.plain("plan", plan_);
    v.value("first_tick", first_tick_);
  }

 private:
  enum class Kind { kSynchronous, kAsynchronous, kRealTime, kEnsemble };

  static Kind kind_of(const std::string& name);
  bool has_plan() const noexcept {
    return kind_ == Kind::kAsynchronous || kind_ == Kind::kRealTime;
  }
  void blend_in(const Rows& chunk, std::int64_t first_tick, std::int64_t now_tick,
                const Numbers& last_target) noexcept;
  void mean(std::int64_t tick, Numbers& out) noexcept;

  Kind kind_;
  std::size_t steps_ = 0;
  double refill_below_ = 0.0;
  Numbers shares_, weights_;
  std::vector<bool> is_gripper_;
  bool realigns_ = false, oldest_first_ = false;
  Ring<Numbers> queue_;
  Ring<Said> said_;
  std::vector<const double*> means_;
  /// `plan_` is empty without a plan.
  Rows plan_, new_;
  std::int64_t first_tick_ = 0;
};

/// Numbers the ticks by time, despite jitter and skipped ticks.
class TickCounter {
 public:
  explicit TickCounter(std::int64_t period_ns) : period_ns_(period_ns) {}

  void reset() noexcept { start_ns_.reset(); }
  void pause(std::int64_t duration_ns) noexcept {
    if (start_ns_) *start_ns_ += duration_ns;
  }
  std::int64_t number(std::int64_t now_ns) noexcept;

  template <class Visitor>
  void visit(Visitor& v) {
    v.value("start_ns", start_ns_);
  }

 private:
  std::int64_t period_ns_;
  Time start_ns_;
};

}  // namespace policy_core
