// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "policy_core/chunk_queue.hpp"
#include "policy_core/observation_sync.hpp"

namespace policy_core {

/// Asks for the chunk that answers what was sensed.
struct ChunkRequest {
  SensedValues sensed;
  /// Of the steps before, the oldest first, where the policy gets several observations.
  std::vector<SensedValues> earlier;
  /// Of the run that asks; an outcome for another one is of no use.
  std::int64_t generation = 0;
  std::int64_t asked_ns = 0;
  /// What the chunk is to continue, from its first step on, and how many of these will have been
  /// executed; no rows: nothing.
  Rows planned;
  std::int64_t delay = 0;
};

/// What became of a request.
struct ChunkOutcome {
  enum class Kind : std::int64_t { kBackendError, kRobotError, kNoTarget, kChunk };

  Kind kind = Kind::kChunk;
  /// Of an error: the number by which the host knows its words.
  std::int64_t text = 0;
  std::int64_t began_ns = 0, ended_ns = 0;
  /// Targets [steps, actions], rad.
  Rows chunk;
  // Of the request.
  std::int64_t generation = 0, time_ns = 0;
  bool continues = false;
};

/// Where a tick leaves a request, and a host the outcome; without a lock, and nothing waits.
///
/// One thread ticks, and one computes: `fetch`, then `answer` and `hand_over`, one inference after
/// the other.
class ChunkExchange {
 public:
  ChunkExchange(const ChunkRequest& request_like, const Rows& chunk_like);
  ChunkExchange(const ChunkExchange&) = delete;

  // For who ticks.
  /// Whether a request is not answered yet, or an answer was not taken.
  bool is_busy() const noexcept;
  /// Asks; a request that was not fetched gives way.
  void ask(const ChunkRequest& request) noexcept;
  /// What was asked for is of no use any more; drops the request that was not fetched.
  void forget() noexcept;
  /// The outcome that is there, until `drop`; null for none.
  const ChunkOutcome* outcome() noexcept;
  void drop() noexcept { finished_ = false; }

  // For who computes.
  /// Takes the request that was asked for; false where there is none, or the last outcome waits.
  bool fetch(ChunkRequest& into) noexcept;
  /// Whether a request was fetched and not answered.
  bool is_computing() const noexcept { return computes_; }
  /// What to write before `hand_over`: kind, text, times, chunk. The rest is there.
  ChunkOutcome& answer() noexcept { return outcome_; }
  void hand_over() noexcept;
  /// Will not answer what was fetched.
  void give_up() noexcept { computes_ = false; }

  enum class Event : std::int64_t {
    kAsked,    ///< there is a request
    kAwaited,  ///< an outcome is looked for, and there is none yet
    kForgotten,
  };
  /// Called within the tick: to wake a thread, or to fetch and answer there.
  void (*notify)(void* context, Event event) = nullptr;
  void* context = nullptr;

 private:
  void send(Event event) noexcept {
    if (notify) notify(context, event);
  }
  void drop_request() noexcept;

  enum class Slot { kEmpty, kFull, kRead };

  std::atomic<Slot> slot_{Slot::kEmpty};
  std::atomic<bool> computes_{false}, finished_{false};
  ChunkRequest request_;
  ChunkOutcome outcome_;
};

}  // namespace policy_core
