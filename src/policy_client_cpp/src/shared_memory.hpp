// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <cstddef>
#include <cstdint>

#include "bell.hpp"
#include "descriptor.hpp"
#include "message.hpp"
#include "protocol.hpp"

namespace policy_client {

/// One request and one answer, in memory that both sides map.
///
/// A byte over the link's connection wakes a sleeping side. Here, a tick only reads and writes
/// memory, because any other descriptor from the service may block.
class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { detach(); }

  // For the connecting thread: the service can make these take arbitrarily long.

  /// Maps the memory that arrived with a WELCOME; returns false, with a message, if it differs from
  /// what the WELCOME states.
  bool attach(Descriptor memory, const Welcome& welcome, Message& message) noexcept;
  void detach() noexcept;

  // For the control thread.

  bool attached() const noexcept { return memory_ != nullptr; }

  /// Writes a request, with at most 4 × rows × obs_dim bytes as in attach(). Returns true if the
  /// service is asleep and must be woken.
  bool send(const Header& header, const float* values) noexcept;

  enum class Received { nothing, frame, broken };
  /// Copies the answer with its header, if it has arrived and fits.
  Received receive(std::byte* frame, std::size_t room) noexcept;

  /// Polls for the answer until `spin_until`. Then sleeps until `socket` has an event, such as the
  /// byte that signals the answer, or until `until`. Sets `socket.revents` unless the answer
  /// arrived.
  void wait(Clock::time_point until, Clock::time_point spin_until, pollfd& socket) noexcept;

 private:
  bool has_answer() const noexcept;

  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t answer_offset_ = 0;
  std::uint64_t requested_ = 0;
  std::uint64_t answered_ = 0;
};

}  // namespace policy_client
