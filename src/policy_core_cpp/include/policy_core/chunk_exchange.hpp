// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <vector>

#include "policy_core/chunk_queue.hpp"
#include "policy_core/observation_sync.hpp"

namespace policy_core {

/// A request for the chunk that follows an observation.
struct ChunkRequest {
  SensedValues sensed;
  /// Observations of the previous steps, oldest first, if the policy takes several.
  std::vector<SensedValues> earlier;
  /// Number of the requesting run; outcomes for other runs are ignored.
  std::int64_t generation = 0;
  std::int64_t asked_ns = 0;
  /// Steps that the chunk must continue (may have no rows), and how many of them will have been
  /// executed when it arrives.
  Rows planned;
  std::int64_t delay = 0;
};

/// The result of a request: a chunk or an error.
struct ChunkOutcome {
  enum class Kind : std::int64_t { kBackendError, kRobotError, kNoTarget, kChunk };

  Kind kind = Kind::kChunk;
  /// For an error: the host's number of its text.
  std::int64_t text = 0;
  std::int64_t began_ns = 0, ended_ns = 0;
  /// Targets [steps, actions], rad.
  Rows chunk;
  // Copied from the request.
  std::int64_t generation = 0, time_ns = 0;
  bool continues = false;
};

/// Lock-free, non-blocking exchange of requests from ticks and outcomes from a host.
///
/// One thread ticks. One thread computes: for each inference, it calls `fetch`, `answer` and
/// `hand_over`.
class ChunkExchange {
 public:
  ChunkExchange(const ChunkRequest& request_like, const Rows& chunk_like);
  ChunkExchange(const ChunkExchange&) = delete;

  // For the ticking thread.
  /// True while a request is unanswered, or its outcome has not been dropped.
  bool is_busy() const noexcept;
  /// Sends a request, which replaces one that has not been fetched.
  void ask(const ChunkRequest& request) noexcept;
  /// Invalidates earlier requests, and drops one that has not been fetched.
  void forget() noexcept;
  /// The available outcome, valid until `drop`; null if there is none.
  const ChunkOutcome* outcome() noexcept;
  void drop() noexcept { finished_ = false; }

  // For the computing thread.
  /// Takes the request; returns false if there is none, or the last outcome is still waiting.
  bool fetch(ChunkRequest& into) noexcept;
  /// True while a fetched request is unanswered.
  bool is_computing() const noexcept { return computes_; }
  /// Outcome in which to write kind, text, times and chunk before `hand_over`; the rest is set.
  ChunkOutcome& answer() noexcept { return outcome_; }
  void hand_over() noexcept;
  /// Abandons the fetched request.
  void give_up() noexcept { computes_ = false; }

  enum class Event : std::int64_t {
    kAsked,    ///< there is a new request
    kAwaited,  ///< the tick looked for an outcome, but there is none yet
    kForgotten,
  };
  /// Called in the tick, to wake the computing thread, or to fetch and answer immediately.
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
