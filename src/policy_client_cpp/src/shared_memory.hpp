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

/// One request and one answer in memory that both sides have mapped.
///
/// Who sleeps is woken by a byte over the connection, which is the link's. Here a tick only reads and
/// writes memory: of what the service passes, nothing else can be trusted not to wait.
class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { detach(); }

  // Of the thread that connects: these may take as long as the service likes.

  /// Maps what came with a WELCOME; false, with a message, where it is not as stated.
  bool attach(Descriptor memory, const Welcome& welcome, Message& message) noexcept;
  void detach() noexcept;

  // Of the thread that controls.

  bool attached() const noexcept { return memory_ != nullptr; }

  /// Writes a request of at most 4 × rows × obs_dim bytes, as attached. True: the service sleeps.
  bool send(const Header& header, const float* values) noexcept;

  enum class Received { nothing, frame, broken };
  /// Copies the answer, header and payload, where it is there and has room.
  Received receive(std::byte* frame, std::size_t room) noexcept;

  /// Looks for the answer until `spin_until`, then sleeps until `socket` has something, such as what
  /// wakes for the answer, or it is `until`. `socket.revents` is set but where the answer was there.
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
