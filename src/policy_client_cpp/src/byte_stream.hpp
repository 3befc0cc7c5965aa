// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/un.h>

#include <cstddef>
#include <string>
#include <utility>

#include "bell.hpp"
#include "descriptor.hpp"
#include "message.hpp"

namespace policy_client {

enum class Io {
  done,   ///< Some bytes were transferred.
  again,  ///< Nothing can be transferred now: wait for the events of wanted().
  failed  ///< The stream is unusable; the message has the reason.
};

/// A connection to a Unix socket, which never blocks except in close().
class ByteStream {
 public:
  /// @throws std::invalid_argument for a path that is too long for a socket.
  explicit ByteStream(const std::string& path);

  /// Sets a time from which no byte is transferred and Io::again is always returned, however much
  /// the other end sends.
  void keep_to(Clock::time_point deadline) noexcept { deadline_ = deadline; }

  /// Connects; returns false, with a message, unless a service accepts the connection immediately.
  bool open(Message& message) noexcept;
  Io read(std::byte* data, std::size_t room, std::size_t& count, Message&) noexcept;
  Io write(const std::byte* data, std::size_t size, std::size_t& count, Message&) noexcept;
  /// Closes the connection. The other end can delay this, by having passed a descriptor that closes
  /// slowly.
  void close() noexcept;

  /// What to poll for after Io::again; `writing` is true if bytes are waiting to be written.
  pollfd wanted(bool writing) const noexcept;

  /// Sets whether a descriptor may arrive with the next bytes. An unexpected one makes the
  /// connection fail, and stays in it until that is closed. Reading may block if more than one
  /// arrives.
  void take_descriptor_with_bytes(bool taken) noexcept { takes_descriptor_ = taken; }
  /// The received descriptor, now owned by the caller.
  Descriptor take_descriptor() noexcept { return std::move(received_); }

 private:
  ssize_t receive(std::byte* data, std::size_t room) noexcept;
  ssize_t receive_with_descriptor(std::byte* data, std::size_t room) noexcept;

  sockaddr_un address_{};
  Clock::time_point deadline_{};
  Descriptor socket_;
  bool takes_descriptor_ = false;
  Descriptor received_;
};

}  // namespace policy_client
