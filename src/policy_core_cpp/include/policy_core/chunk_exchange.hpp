// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "policy_core/chunk_queue.hpp"
#include "policy_core/observation_sync.hpp"

namespace policy_core {

/// Request for the chunk that responds to an observation.
struct ChunkRequest {
  SensedValues sensed;
  /// Observations of the previous steps, the oldest first, if the policy takes several.
  std::vector<SensedValues> earlier;
  /// Generation of the requesting run; outcomes for another one are ignored.
  std::int64_t generation = 0;
  std::int64_t asked_ns = 0;
  /// Steps that the chunk must continue, and how many of them will have been executed; no rows for
  /// none.
  Rows planned;
  std::int64_t delay = 0;
};

/// Result of a request.
struct ChunkOutcome {
  enum class Kind : std::int64_t { kBackendError, kRobotError, kNoTarget, kChunk };

  Kind kind = Kind::kChunk;
  /// For an error: the host's number for its words.
  std::int64_t text = 0;
  std::int64_t began_ns = 0, ended_ns = 0;
  /// Targets [steps, actions], rad.
  Rows chunk;
  // Of the request.
  std::int64_t generation = 0, time_ns = 0;
  bool continues = false;
};

/// Lock-free, non-blocking exchange of requests from a tick and outcomes from a host.
///
/// One thread ticks, and one computes: `fetch`, then `answer` and `hand_over`, one inference after
/// another.
class ChunkExchange {
 public:
  ChunkExchange(const ChunkRequest& request_like, const Rows& chunk_like);
  ChunkExchange(const ChunkExchange&) = delete;

  // For the ticking thread.
  /// True if a request is unanswered or its answer was not collected.
  bool is_busy() const noexcept;
  /// Sends a request; it replaces one that was not fetched.
  void ask(const ChunkRequest& request) noexcept;
  /// Invalidates earlier requests; drops the request that was not fetched.
  void forget() noexcept;
  /// The available outcome, until `drop`; null for none.
  const ChunkOutcome* outcome() noexcept;
  void drop() noexcept { finished_ = false; }

  // For the computing thread.
  /// Takes the request; false without one, or while the last outcome waits.
  bool fetch(ChunkRequest& into) noexcept;
  /// True if a request was fetched and not answered.
  bool is_computing() const noexcept { return computes_; }
  /// Write kind, text, times and chunk here before `hand_over`. The rest is set.
  ChunkOutcome& answer() noexcept { return outcome_; }
  void hand_over() noexcept;
  /// Abandons the fetched request.
  void give_up() noexcept { computes_ = false; }

  enum class Event : std::int64_t {
    kAsked,    ///< there is a request
    kAwaited,  ///< an outcome was requested, but there is none yet
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
