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

/// Time of a tick; all in ns.
struct DueTick {
  std::int64_t now_ns;            ///< on the clock of ages and motions
  std::int64_t next_deadline_ns;  ///< of the next tick
  std::int64_t stamp_ns;          ///< on the clock of stamps
  std::int64_t missed = 0;        ///< deadlines before it at which no tick could start
  std::int64_t late_ns = 0;       ///< delay of its start after its deadline
};

/// One tick as its observers see it: a copy, in preallocated memory.
struct Record {
  std::int64_t number = 0;
  DueTick due{};
  std::int64_t duration_ns = 0;
  Mode mode = Mode::kDamp;
  Reason reason;
  /// Number of mode changes and of trips; the last trip.
  std::int64_t edges = 0, trips = 0;
  Trip trip{};
  /// True if the policy was asked, had no memory then, has answered; if the answer was used.
  bool asked = false, begins = false, answered = false, taken = false;
  double blend = 0.0;
  std::int64_t clipped_ticks = 0;
  /// The mode of the sent targets, and the number of the command; -1 if none was sent.
  std::int64_t sent_mode = -1, sequence = -1;
  /// Bits: readers with an unreadable message, and with doubted joints.
  std::uint64_t refused = 0, doubted = 0;
  /// State fields as the policy saw them, and after the tick; its target; the sent targets [6,
  /// joints]; the share that the operator grants the policy [joints].
  Numbers seen, state, target, block, authority;
  /// Of all models in their order.
  std::vector<std::uint8_t> inputs, outputs;
  /// By input: birth and measurement time of its newest message.
  std::vector<Time> born_ns, measured_ns;
  /// The arrived messages, one after another, with the range of each source; empty for none.
  std::vector<std::uint8_t> wire;
  struct Place {
    std::size_t begin, size;
  };
  std::vector<Place> places;
  /// The state of the controller after the tick, as a `Snapshot`, if it was kept.
  std::vector<std::uint8_t> snapshot;
  std::size_t snapshot_bytes = 0;
};

/// A controller, and the records of its ticks for one other thread.
///
/// `tick` takes no lock and allocates nothing. If the other thread falls behind by all slots, ticks
/// continue without records.
class Host {
 public:
  /// As for `Controller`. `slots`: number of records; `sources`: number of message sources.
  Host(const Table& plan, const Models& models, ReadClock clock, void* context, Span memory,
       std::size_t slots, std::size_t sources);

  Controller& controller() noexcept { return *controller_; }
  /// Serialises requests and ticks.
  std::recursive_timed_mutex& mutex() noexcept { return mutex_; }

  /// Begins the record of a tick, before its messages are taken.
  void begin(const DueTick& due) noexcept;
  /// Stores the message of a source in it, up to the available space.
  void keep(std::size_t source, const std::uint8_t* data, std::size_t size) noexcept;
  Record& record() noexcept { return slots_[made_.load(std::memory_order_relaxed) % slots_.size()]; }
  /// Ticks; returns the targets to send, which the next tick overwrites, or null.
  Targets* tick() noexcept;
  /// Records targets that are sent instead of those of the tick.
  void note_sent(Targets* targets) noexcept;
  /// Completes the record for the other thread.
  void end(std::int64_t duration_ns, std::int64_t sequence) noexcept;

  /// The oldest record that was not dropped, or null. For one thread.
  const Record* oldest() const noexcept;
  void drop() noexcept { taken_.store(taken_.load(std::memory_order_relaxed) + 1,
                                      std::memory_order_release); }

  std::int64_t ticks() const noexcept { return ticks_; }
  /// Ticks without a record.
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
