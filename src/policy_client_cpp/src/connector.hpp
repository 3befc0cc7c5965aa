// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "link.hpp"

namespace policy_client {

/// Connects and hangs up on a thread of its own, because both take as long as the service likes: it
/// greets when it wants to, and closing the last descriptor of a socket or of a file system in user
/// space waits for its other side. The control thread only waits for the result.
///
/// One of the two threads has the link at a time, and hands it to the other one.
class Connector {
 public:
  /// @throws std::invalid_argument as Link does; std::runtime_error without thread or eventfd.
  Connector(const std::string& path, const Options& options, bool shared_memory);
  /// Hangs up; what takes longer than Options::answer_limit goes on alone.
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  /// Waits until the control thread has the link: ready, refused or down. False where it has not by
  /// `until`, or while an attempt to connect is put off and that is not waited for.
  bool await(Clock::time_point until, bool through_pauses) noexcept;

  /// Of the control thread, after await().
  Link& link() noexcept { return work_->link; }
  bool has_link() const noexcept {
    return work_->turn.load(std::memory_order_acquire) == Turn::control;
  }

  /// Gives a link that is down away: it is closed, and after its pause connected again.
  void reconnect() noexcept;

  /// Forgets refusal and pause.
  void retry() noexcept;

 private:
  enum class Turn { control, pausing, connecting };

  /// What both threads have, owned by both: a thread that cannot end is left behind with it.
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
