// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/chunk_queue.hpp"

#include <algorithm>
#include <array>
#include <cmath>

namespace policy_core {
namespace {

/// Share of a period by which a tick may be early.
constexpr double kEarly = 0.25;
/// More chunks than are queued even if a state is restored while a chunk is being computed.
constexpr std::size_t kQueuedChunks = 4;

std::int64_t clipped(std::int64_t row, std::size_t count) {
  return std::clamp<std::int64_t>(row, 0, static_cast<std::int64_t>(count) - 1);
}

std::size_t at(std::int64_t place) { return static_cast<std::size_t>(place); }

/// The number of values in this many chunks, limited since a plan states it.
std::size_t chunks(std::size_t count, std::size_t size, std::size_t actions) {
  check_size("queue", static_cast<std::int64_t>(count * size), actions);
  return count;
}

}  // namespace

void Rows::take(const Rows& other, std::size_t first, std::size_t rows) noexcept {
  std::copy(other[first], other[first + rows], values.begin());
  count = rows;
}

ChunkQueue::ChunkQueue(const Part& plan, std::size_t size, std::size_t actions)
    : kind_(kind_of(plan.text("kind"))),
      is_gripper_(actions),
      queue_(kind_ == Kind::kSynchronous ? kQueuedChunks * size : 1, Numbers(actions)),
      said_(chunks(kind_ == Kind::kEnsemble ? size : 1, size, actions), {0, Rows(size, actions)}),
      means_(said_.capacity()),
      plan_(size, actions),
      new_(size, actions) {
  if (kind_ == Kind::kEnsemble) {
    weights_ = plan.numbers("weights", static_cast<std::int64_t>(size));
    oldest_first_ = plan.flag("oldest_first");
    return;
  }
  steps_ = at(plan.integer("steps", 1, static_cast<std::int64_t>(size)));
  if (has_plan()) refill_below_ = plan.number("refill_below");
  if (kind_ != Kind::kAsynchronous) return;
  shares_ = plan.numbers("shares");
  for (auto place : plan.places("grippers", actions)) is_gripper_[at(place)] = true;
  realigns_ = plan.flag("realign");
}

ChunkQueue::Kind ChunkQueue::kind_of(const std::string& name) {
  constexpr std::array<const char*, 4> kNames = {"synchronous", "asynchronous", "rtc", "ensemble"};
  const auto found = std::find(kNames.begin(), kNames.end(), name);
  if (found == kNames.end()) {
    throw PlanError("plan: queue.kind: expected the mode of a chunk policy, found " + name);
  }
  return static_cast<Kind>(found - kNames.begin());
}

void ChunkQueue::reset() noexcept {
  queue_.clear();
  said_.clear();
  plan_.count = 0;
  first_tick_ = 0;
}

void ChunkQueue::add(const Rows& chunk, std::int64_t first_tick, std::int64_t now_tick,
                     const Numbers& last_target) noexcept {
  const auto passed = at(std::max<std::int64_t>(0, now_tick - first_tick));
  if (kind_ == Kind::kSynchronous) {
    for (std::size_t row = 0; row < std::min(steps_, chunk.count); ++row) {
      std::copy(chunk[row], chunk[row + 1], queue_.push().begin());
    }
  } else if (kind_ == Kind::kEnsemble) {
    auto& said = said_.push();
    said.first = first_tick;
    said.second.take(chunk, 0, chunk.count);
  } else if (kind_ == Kind::kAsynchronous) {
    blend_in(chunk, first_tick, now_tick, last_target);
  } else if (passed < steps_) {
    planned(first_tick, new_);
    const auto executed = std::min(passed, new_.count);
    std::copy(chunk[executed], chunk[chunk.count], new_[executed]);
    plan_.take(new_, 0, chunk.count);
    first_tick_ = first_tick;
  }
}

void ChunkQueue::blend_in(const Rows& chunk, std::int64_t first_tick, std::int64_t now_tick,
                          const Numbers& last_target) noexcept {
  const auto passed = at(std::max<std::int64_t>(0, now_tick - first_tick));
  const auto end = std::min(steps_, chunk.count);
  if (passed >= end) return;
  new_.take(chunk, passed, end - passed);
  for (std::size_t column = 0; column < new_.columns; ++column) {
    if (is_gripper_[column]) continue;
    const double shift = realigns_ ? last_target[column] - new_[0][column] : 0.0;
    for (std::size_t row = 0; row < new_.count; ++row) {
      double& value = new_[row][column];
      if (realigns_) value += shift;
      if (plan_.count == 0 || row >= shares_.size()) continue;
      // After the end of the old plan, its last target is held.
      const auto planned =
          clipped(now_tick - first_tick_ + static_cast<std::int64_t>(row), plan_.count);
      value *= shares_[row];
      value += (1.0 - shares_[row]) * plan_[at(planned)][column];
    }
  }
  plan_.take(new_, 0, new_.count);
  first_tick_ = now_tick;
}

bool ChunkQueue::wants_chunk(std::int64_t tick) const noexcept {
  if (kind_ == Kind::kSynchronous) return queue_.empty();
  if (kind_ == Kind::kEnsemble) return true;
  const auto steps = left(tick);
  return steps == 0 || static_cast<double>(steps) < refill_below_;
}

bool ChunkQueue::target(std::int64_t tick, Numbers& out) noexcept {
  if (left(tick) == 0) return false;
  if (kind_ == Kind::kEnsemble) {
    mean(tick, out);
    return true;
  }
  const auto row = at(std::max<std::int64_t>(0, tick - first_tick_));
  const double* found = kind_ == Kind::kSynchronous ? queue_[0].data() : plan_[row];
  std::copy(found, found + out.size(), out.begin());
  return true;
}

void ChunkQueue::mean(std::int64_t tick, Numbers& out) noexcept {
  std::size_t count = 0;
  for (std::size_t i = 0; i < said_.size(); ++i) {
    const auto& [first, chunk] = said_[i];
    const auto step = tick - first;
    if (step < static_cast<std::int64_t>(chunk.count)) means_[count++] = chunk[at(step)];
  }
  for (std::size_t column = 0; column < out.size(); ++column) {
    double sum = 0.0, weights = 0.0;
    for (std::size_t i = 0; i < count; ++i) {
      const double weight = weights_[oldest_first_ ? i : count - 1 - i];
      sum = i == 0 ? weight * means_[i][column] : sum + weight * means_[i][column];
      weights += weight;
    }
    out[column] = sum / weights;
  }
}

void ChunkQueue::advance() noexcept {
  if (kind_ == Kind::kSynchronous) queue_.pop();
}

std::int64_t ChunkQueue::left(std::int64_t tick) const noexcept {
  std::int64_t end = tick;
  if (kind_ == Kind::kSynchronous) end += static_cast<std::int64_t>(queue_.size());
  for (std::size_t i = 0; i < said_.size(); ++i) {
    const auto& [first, chunk] = said_[i];
    end = std::max(end, first + static_cast<std::int64_t>(chunk.count));
  }
  if (plan_.count) {
    const auto steps = kind_ == Kind::kRealTime ? steps_ : plan_.count;
    end = std::max(end, first_tick_ + static_cast<std::int64_t>(steps));
  }
  return end - tick;
}

void ChunkQueue::planned(std::int64_t first_tick, Rows& into) const noexcept {
  into.count = 0;
  if (kind_ != Kind::kRealTime || plan_.count == 0) return;
  const auto size = static_cast<std::int64_t>(plan_.count), start = first_tick - first_tick_;
  for (auto row = start; row < std::min(size, start + size); ++row) {
    const auto* from = plan_[at(clipped(row, plan_.count))];
    std::copy(from, from + plan_.columns, into[into.count++]);
  }
}

std::int64_t TickCounter::number(std::int64_t now_ns) noexcept {
  if (!start_ns_) start_ns_ = now_ns;
  const auto periods =
      static_cast<double>(now_ns - *start_ns_) / static_cast<double>(period_ns_);
  const auto number = static_cast<std::int64_t>(std::floor(periods + kEarly));
  start_ns_ = std::min(*start_ns_, now_ns - number * period_ns_);
  return number;
}

}  // namespace policy_core
