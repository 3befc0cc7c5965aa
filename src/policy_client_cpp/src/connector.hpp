// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "link.hpp"

namespace policy_client {

/// Connects and disconnects on a thread of its own, because the service can make both take
/// arbitrarily long: it greets when it wants to, and closing the last descriptor of a socket or of
/// a file system in user space waits for its other side. The control thread only waits for the
/// result.
///
/// One of the two threads owns the link at a time, and passes it to the other.
class Connector {
 public:
  /// @throws std::invalid_argument like Link; std::runtime_error without thread or eventfd.
  Connector(const std::string& path, const Options& options, bool shared_memory);
  /// Disconnects; abandons anything that takes longer than Options::answer_limit.
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  /// Waits until the control thread owns the link: ready, refused or down. Returns false if not by
  /// `until`, or while an attempt is postponed and the caller does not wait for it.
  bool await(Clock::time_point until, bool through_pauses) noexcept;

  /// For the control thread, after await().
  Link& link() noexcept { return work_->link; }
  bool has_link() const noexcept {
    return work_->turn.load(std::memory_order_acquire) == Turn::control;
  }

  /// Hands over a link that is down: it is closed and, after its pause, reconnected.
  void reconnect() noexcept;

  /// Clears refusal and pause.
  void retry() noexcept;

 private:
  enum class Turn { control, pausing, connecting };

  /// State shared by both threads and owned by both: a thread that cannot end is abandoned with it.
  struct Work {
    Work(const std::string& path, const Options& options, bool shared_memory)
        : link(path, options, shared_memory) {}

    Link link;
    Bell to_thread;
    Bell to_control;
    std::atomic<Turn> turn{Turn::control};
    std::atomic<bool> hurried{false};
    std::atomic<bool> ending{false};
    std::atomic<bool> ended{false};
  };

  static void run(Work& work) noexcept;
  static bool wait_for_turn(Work& work) noexcept;
  static void pause(Work& work) noexcept;

  const std::chrono::milliseconds patience_;
  const std::shared_ptr<Work> work_;
  std::thread thread_;
};

}  // namespace policy_client
