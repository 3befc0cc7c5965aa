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

/// Targets for several ticks, rad: `count` rows of `columns`, with fixed memory.
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
  /// Copies this many rows of `other`, of the same width, beginning with its row `first`.
  void take(const Rows& other, std::size_t first, std::size_t rows) noexcept;
};

/// Selects each tick's target from the chunks; implements the four kinds of
/// `policy_core.members.chunk.queue`.
class ChunkQueue {
 public:
  ChunkQueue(const Part& plan, std::size_t size, std::size_t actions);

  void reset() noexcept;
  /// Adds a new chunk whose first step belongs to `first_tick`, which is at most `now_tick`.
  void add(const Rows& chunk, std::int64_t first_tick, std::int64_t now_tick,
           const Numbers& last_target) noexcept;
  bool wants_chunk(std::int64_t tick) const noexcept;
  /// Writes the target for a tick; returns false if there is none.
  bool target(std::int64_t tick, Numbers& out) noexcept;
  void advance() noexcept;
  std::int64_t left(std::int64_t tick) const noexcept;
  /// Writes the planned targets from a tick on, which a new chunk must continue; there may be none.
  void planned(std::int64_t first_tick, Rows& into) const noexcept;

  /// The tick of a chunk's first step, and the chunk, for the mean over several.
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
  /// `plan_` has no rows if nothing is planned.
  Rows plan_, new_;
  std::int64_t first_tick_ = 0;
};

/// Numbers ticks by their time, so that jitter and skipped ticks do not matter.
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
