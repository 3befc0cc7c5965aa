// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <cstdint>

#include "byte_stream.hpp"
#include "protocol.hpp"

namespace policy_client {

using Clock = std::chrono::steady_clock;

/// One request and one answer in memory that both sides have mapped.
class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { detach(); }

  /// Maps what came with a WELCOME; false, with a message, where it is not as stated.
  bool attach(ByteStream::Descriptors descriptors, const Welcome& welcome,
              Message& message) noexcept;
  void detach() noexcept;
  bool attached() const noexcept { return memory_ != nullptr; }

  /// Writes a request of at most 4 × rows × obs_dim bytes, as attached.
  void send(const Header& header, const float* values) noexcept;

  enum class Received { nothing, frame, broken };
  /// Copies the answer, header and payload, where it is there and has room.
  Received receive(std::byte* frame, std::size_t room) noexcept;

  /// Looks for the answer until `spin_until`, then sleeps until it comes, `socket` has something,
  /// or it is `until`. `socket.revents` is set in any case but that of an answer found early.
  void wait(Clock::time_point until, Clock::time_point spin_until, pollfd& socket) noexcept;

 private:
  bool has_answer() const noexcept;

  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t answer_offset_ = 0;
  Descriptor wake_service_;
  Descriptor wake_client_;
  std::uint64_t requested_ = 0;
  std::uint64_t answered_ = 0;
};

/// poll() until a time; interrupted calls count as nothing to read.
void poll_until(pollfd* descriptors, nfds_t count, Clock::time_point until) noexcept;

}  // namespace policy_client
