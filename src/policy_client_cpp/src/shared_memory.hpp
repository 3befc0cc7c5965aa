// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <linux/aio_abi.h>
#include <poll.h>

#include <cstddef>
#include <cstdint>

#include "byte_stream.hpp"
#include "protocol.hpp"

namespace policy_client {

/// Wakes the service through its eventfd, without ever waiting.
///
/// A write waits where the count is full and the file blocks. Both are in the hands of the service:
/// flags belong to the open file, which two processes have, and one that is set before the write may
/// be cleared again until then. The kernel's own signal at the end of an asynchronous read does not
/// wait, whatever the file says; here a read of nothing.
class EventSignal {
 public:
  EventSignal() = default;
  EventSignal(const EventSignal&) = delete;
  EventSignal& operator=(const EventSignal&) = delete;
  ~EventSignal() { close(); }

  /// False, with errno, where the kernel has no asynchronous reads left.
  bool open(Descriptor event) noexcept;
  void ring() noexcept;
  void close() noexcept;

 private:
  aio_context_t context_ = 0;
  Descriptor nothing_;
  Descriptor event_;
};

/// One request and one answer in memory that both sides have mapped.
///
/// Of what the service passes, a tick does only what cannot wait for the service: it reads and writes
/// the memory, signals the eventfd and polls the pipe. Reading the pipe waits where the service made it
/// blocking, or holds its lock; that is for the other thread.
class SharedMemory {
 public:
  SharedMemory() = default;
  SharedMemory(const SharedMemory&) = delete;
  SharedMemory& operator=(const SharedMemory&) = delete;
  ~SharedMemory() { detach(); }

  // Of the thread that connects: these may take as long as the service likes.

  /// Maps what came with a WELCOME; false, with a message, where it is not as stated.
  bool attach(ByteStream::Descriptors descriptors, const Welcome& welcome,
              Message& message) noexcept;
  void detach() noexcept;
  /// Reads wakes out of the pipe, which has room for 8192; false where there is none. Leaves one: an
  /// empty pipe would be none to wake up for, to a tick that is about to.
  bool drain() noexcept;

  // Of the thread that controls.

  bool attached() const noexcept { return memory_ != nullptr; }

  /// Writes a request of at most 4 × rows × obs_dim bytes, as attached.
  void send(const Header& header, const float* values) noexcept;

  enum class Received { nothing, frame, broken };
  /// Copies the answer, header and payload, where it is there and has room.
  Received receive(std::byte* frame, std::size_t room) noexcept;

  /// Looks for the answer until `spin_until`, then sleeps for a moment at most, until it comes,
  /// `socket` has something, or it is `until`. `socket.revents` is set in any case but that of an answer found early.
  void wait(Clock::time_point until, Clock::time_point spin_until, pollfd& socket) noexcept;

 private:
  bool watch(Descriptor pipe) noexcept;
  bool has_answer() const noexcept;

  std::byte* memory_ = nullptr;
  std::size_t bytes_ = 0;
  std::size_t answer_offset_ = 0;
  EventSignal wake_service_;
  Descriptor pipe_;
  Descriptor new_wakes_;  ///< An epoll that says so once for each write into the pipe.
  std::uint64_t requested_ = 0;
  std::uint64_t answered_ = 0;
};

}  // namespace policy_client
