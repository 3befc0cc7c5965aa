// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

#include "policy_core/chunk_exchange.hpp"
#include "policy_core/chunk_queue.hpp"
#include "policy_core/observation_sync.hpp"
#include "policy_core/policy.hpp"

namespace policy_core {

/// A chunk policy's command: positions [joints], rad; joints without an action keep theirs.
class ChunkCommand : public Command {
 public:
  explicit ChunkCommand(const Part& plan);

  /// Sets the command to the stand pose, where RUN begins.
  void restart() noexcept { command = pose_; }
  /// Writes the command in the order of the actions.
  void read(Numbers& target) const noexcept;
  /// Sets the command to a target [actions], clipped to the policy's own limits.
  void set(const Numbers& target, Span joint_pos) noexcept;
  const Integers& places() const noexcept { return joints_; }
  const Numbers& pose() const noexcept { return pose_; }

  template <class Visitor>
  void visit(Visitor& v) {
    v.rules("clipped", clipped);
    v.array("command", {command.data(), command.size()});
  }

 private:
  Integers joints_;
  Numbers stride_, pose_, reach_;
};

/// An accepted chunk, for observers. Its step k belongs to `time_ns` + k periods and to tick
/// `first_tick` + k; it arrived in `tick`.
struct TakenChunk {
  std::int64_t sequence = 0, time_ns = 0, first_tick = 0, tick = 0;
};

/// Recent commands and positions of the drives, for `policy_core.members.chunk.oscillation`.
struct Swings {
  /// Measured and previously commanded positions [ticks, 2, joints], rad; row `count` % ticks is
  /// written next.
  Numbers values;
  std::int64_t count = 0;

  void add(Span measured, const Numbers& command) noexcept;
};

/// Executes chunks that a host computes; equivalent to `policy_core.members.chunk.policy`.
class ChunkPolicy : public Policy {
 public:
  /// `member` is its index in a set, for its failures; -1 for a single policy.
  ChunkPolicy(const Part& plan, RobotState& state, const std::vector<Input>& inputs,
              ReadClock clock, void* context, std::int64_t member = -1);

  void reset() noexcept override;
  void pause(std::int64_t duration_ns) noexcept override { ticks_.pause(duration_ns); }
  Answer infer() noexcept override;
  Numbers& commit() noexcept override;
  ChunkCommand& action() noexcept override { return action_; }
  bool begins() const noexcept override { return begins_; }
  /// Observes in a tick in which a person has control, dropping chunks; returns its time, ns.
  std::int64_t stand_by() noexcept;

  /// The queue's last output before any limit [actions], rad.
  Numbers target;
  /// Passes requests to the host, and chunks back.
  ChunkExchange& exchange() noexcept { return exchange_; }
  ObservationSync& sync() noexcept { return sync_; }
  const Swings& swings() const noexcept { return swings_; }
  /// The number of the run, and the number of ticks, from the last one on, that have targets.
  std::int64_t generation() const noexcept { return generation_; }
  std::int64_t left() const noexcept { return queue_.left(tick_); }
  /// Time at which it last ran.
  std::int64_t now_ns() const noexcept { return now_ns_; }
  /// Takes the oldest accepted chunk not taken yet; returns false if there is none.
  bool pop_chunk(TakenChunk& chunk) noexcept;
  const ChunkRequest& request_like() const noexcept { return under_way_; }

  /// Why an inference failed: the kind and the reason.
  using Failure = std::pair<ChunkOutcome::Kind, Reason>;

  template <class Visitor>
  void visit(Visitor& v) {
    v.part("action", action_);
    v.array("target", {target.data(), target.size()});
    v.value("begins", begins_);
    v.value("tick", tick_);
    v.value("generation", generation_);
    v.value("sequence", sequence_);
    v.value("now_ns", now_ns_);
    v.value("took_ns", took_ns_);
    v.some("blind", blind_);
    v.some("failure", inference_failure_);
    if (!v.is_whole()) return;
    v.part("queue", queue_);
    auto delay = v.mapping("delay");
    delay.plain("lately", lately_);
    v.part("ticks", ticks_);
    v.plain("executed", executed_);
    v.part("sync", sync_);
    v.some("under_way", under_way_, is_under_way_);
    if (v.restores() && is_under_way_) exchange_.ask(under_way_);
  }

 private:
  void start() noexcept;
  void ask() noexcept;
  bool collect() noexcept;
  bool take(const ChunkOutcome& outcome) noexcept;
  std::int64_t passed(std::int64_t time_ns) const noexcept;
  Answer nothing() noexcept;

  ReadClock clock_;
  void* context_;
  std::int64_t member_;
  ChunkCommand action_;
  std::size_t size_;
  std::int64_t period_ns_, expected_delay_;
  Span joint_pos_;
  ObservationSync sync_;
  ChunkQueue queue_;
  ChunkRequest under_way_;
  ChunkExchange exchange_;
  TickCounter ticks_;
  Swings swings_;
  Numbers last_target_;
  Ring<std::int64_t> lately_{10};
  /// Time and number of the last ticks, except those in which targets were held.
  Ring<std::pair<std::int64_t, std::int64_t>> executed_;
  Ring<TakenChunk> taken_{16};
  std::int64_t tick_ = 0, generation_ = 0, sequence_ = 0, now_ns_ = 0, took_ns_ = 0;
  bool begins_ = true, is_under_way_ = false;
  std::optional<Reason> blind_;
  std::optional<Failure> inference_failure_;
};

}  // namespace policy_core
