// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <thread>

#include "link.hpp"

namespace policy_client {

/// Connects and disconnects on a separate thread, because the service can delay both for any time:
/// it may greet late, and closing the last descriptor of a socket or of a user-space file system
/// waits for the other side. The control thread only waits for the result.
///
/// At any time, one of the two threads owns the link, and passes it to the other.
class Connector {
 public:
  /// @throws std::invalid_argument like Link; std::runtime_error if a thread or eventfd is refused.
  Connector(const std::string& path, const Options& options, bool shared_memory);
  /// Disconnects, but abandons the thread if that takes longer than Options::answer_limit.
  ~Connector();
  Connector(const Connector&) = delete;
  Connector& operator=(const Connector&) = delete;

  /// Waits until the control thread owns the link, which is then ready, refused or down. Returns
  /// false if it does not by `until`, or in a pause between attempts unless `through_pauses`.
  bool await(Clock::time_point until, bool through_pauses) noexcept;

  /// The link, for the control thread after await().
  Link& link() noexcept { return work_->link; }
  bool has_link() const noexcept {
    return work_->turn.load(std::memory_order_acquire) == Turn::control;
  }

  /// Gives a link that is down to the thread, which closes it and, after its pause, reconnects.
  void reconnect() noexcept;

  /// Clears a refusal and a pause.
  void retry() noexcept;

 private:
  enum class Turn { control, pausing, connecting };

  /// State that both threads share and own, so that a thread that cannot end is abandoned with it.
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
