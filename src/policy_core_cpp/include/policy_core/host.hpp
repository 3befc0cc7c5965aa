// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <vector>

#include "policy_core/controller.hpp"

namespace policy_core {

/// The times of a tick, ns.
struct DueTick {
  std::int64_t now_ns;            ///< its time on the clock of ages and motions
  std::int64_t next_deadline_ns;  ///< deadline of the next tick, on the same clock
  std::int64_t stamp_ns;          ///< its time on the clock of stamps
  std::int64_t missed = 0;        ///< number of deadlines missed before it
  std::int64_t late_ns = 0;       ///< how long after its deadline it started
};

/// A copy of one tick for observers, in preallocated memory.
struct Record {
  std::int64_t number = 0;
  DueTick due{};
  std::int64_t duration_ns = 0;
  Mode mode = Mode::kDamp;
  Reason reason;
  /// Number of mode changes and of trips so far; the last trip.
  std::int64_t edges = 0, trips = 0;
  Trip trip{};
  /// The policy was asked; had no memory at that time; answered; gave an answer that was used.
  bool asked = false, begins = false, answered = false, taken = false;
  double blend = 0.0;
  std::int64_t clipped_ticks = 0;
  /// Mode of the sent targets, and number of the command; -1 if none was sent.
  std::int64_t sent_mode = -1, sequence = -1;
  /// Bits of the readers with an unreadable message, and of those with doubted joints.
  std::uint64_t refused = 0, doubted = 0;
  /// State fields as the policy saw them, and after the tick; the policy's target; the sent targets
  /// [6, joints]; the share that the operator grants the policy [joints].
  Numbers seen, state, target, block, authority;
  /// Inputs and outputs of all models, in order.
  std::vector<std::uint8_t> inputs, outputs;
  /// For each input, when its newest message was born and measured.
  std::vector<Time> born_ns, measured_ns;
  /// The messages that arrived, without gaps, and each source's range in them, empty for none.
  std::vector<std::uint8_t> wire;
  struct Place {
    std::size_t begin, size;
  };
  std::vector<Place> places;
  /// A `Snapshot` of the controller after the tick, if one was stored.
  std::vector<std::uint8_t> snapshot;
  std::size_t snapshot_bytes = 0;
};

/// Owns a controller, and records its ticks for one other thread.
///
/// `tick` takes no lock and allocates nothing. If the other thread falls behind by all slots, ticks
/// continue without records.
class Host {
 public:
  /// Same as for `Controller`. `slots` is the number of records, `sources` that of message sources.
  Host(const Table& plan, const Models& models, ReadClock clock, void* context, Span memory,
       std::size_t slots, std::size_t sources);

  Controller& controller() noexcept { return *controller_; }
  /// To be locked for requests and ticks.
  std::recursive_timed_mutex& mutex() noexcept { return mutex_; }

  /// Begins the record of a tick, before its messages are taken.
  void begin(const DueTick& due) noexcept;
  /// Stores a source's message in the record, if there is space left.
  void keep(std::size_t source, const std::uint8_t* data, std::size_t size) noexcept;
  Record& record() noexcept { return slots_[made_.load(std::memory_order_relaxed) % slots_.size()]; }
  /// Executes the tick; returns the targets to send, or null. The next tick overwrites them.
  Targets* tick() noexcept;
  /// Records targets that are sent instead of the tick's.
  void note_sent(Targets* targets) noexcept;
  /// Completes the record, and passes it to the other thread.
  void end(std::int64_t duration_ns, std::int64_t sequence) noexcept;

  /// The oldest record not yet dropped, or null; for the other thread only.
  const Record* oldest() const noexcept;
  void drop() noexcept { taken_.store(taken_.load(std::memory_order_relaxed) + 1,
                                      std::memory_order_release); }

  std::int64_t ticks() const noexcept { return ticks_; }
  /// Number of ticks without a record.
  std::int64_t lost() const noexcept { return lost_.load(std::memory_order_relaxed); }

 private:
  void note_asked(bool has_answered) noexcept;
  void keep_snapshot(Record& record) noexcept;

  std::vector<const policy_core_runner*> models_;
  std::unique_ptr<Controller> controller_;
  std::recursive_timed_mutex mutex_;
  std::vector<Record> slots_;
  std::atomic<std::size_t> made_{0}, taken_{0};
  std::atomic<std::int64_t> lost_{0};
  std::int64_t ticks_ = 0, since_snapshot_ = 0;
  Mode mode_ = Mode::kDamp;
};

}  // namespace policy_core
