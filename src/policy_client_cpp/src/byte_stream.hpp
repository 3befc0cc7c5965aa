// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/socket.h>

#include <cstddef>
#include <memory>
#include <string>
#include <vector>

#include "bell.hpp"
#include "descriptor.hpp"
#include "message.hpp"
#include "policy_client/policy_source.hpp"

namespace policy_client {

enum class Io {
  done,   ///< Some bytes went through, or the stream is open.
  again,  ///< Nothing now: wait for what wanted() says.
  failed  ///< The stream is of no use any more; the message says why.
};

/// A connection that never waits, but where it is closed.
class ByteStream {
 public:
  virtual ~ByteStream() = default;

  /// From then on no byte goes through: all is Io::again, however much the other end sends.
  virtual void keep_to(Clock::time_point deadline) noexcept = 0;

  /// Begins to connect, or goes on with it.
  virtual Io open(Message& message) noexcept = 0;
  virtual Io read(std::byte* data, std::size_t room, std::size_t& count, Message&) noexcept = 0;
  virtual Io write(const std::byte* data, std::size_t size, std::size_t& count,
                   Message&) noexcept = 0;
  /// Takes as long as the other end likes: it may have passed descriptors that are slow to close.
  virtual void close() noexcept = 0;

  /// What to poll for after Io::again; `writing`: bytes wait to be written.
  virtual pollfd wanted(bool writing) const noexcept = 0;

  /// Whether a descriptor may come with the bytes that are read; else the connection fails, and it
  /// stays where it is until that is closed. Reading may wait where more than one come.
  virtual void take_descriptor_with_bytes(bool) noexcept {}
  /// The one that came, taken over by the caller.
  virtual Descriptor take_descriptor() noexcept { return {}; }
};

/// A Unix or TCP socket.
class SocketStream : public ByteStream {
 public:
  struct Address {
    sockaddr_storage storage{};
    socklen_t length = 0;
  };

  /// @throws std::invalid_argument for a path longer than a socket's can be.
  static std::unique_ptr<SocketStream> unix_socket(const std::string& path);
  /// @throws std::invalid_argument for what is not HOST:PORT.
  /// @throws std::runtime_error for a host that is not found.
  static std::unique_ptr<SocketStream> tcp(const std::string& host_and_port);

  SocketStream(std::string name, std::vector<Address> addresses);

  /// Whether all its addresses are of this machine only.
  bool is_loopback() const noexcept;

  void keep_to(Clock::time_point deadline) noexcept override { deadline_ = deadline; }
  Io open(Message& message) noexcept override;
  Io read(std::byte* data, std::size_t room, std::size_t& count, Message&) noexcept override;
  Io write(const std::byte* data, std::size_t size, std::size_t& count, Message&) noexcept override;
  void close() noexcept override;
  pollfd wanted(bool writing) const noexcept override;
  void take_descriptor_with_bytes(bool taken) noexcept override { takes_descriptor_ = taken; }
  Descriptor take_descriptor() noexcept override { return std::move(received_); }

 private:
  Io start(Message& message) noexcept;
  Io finish(Message& message) noexcept;
  ssize_t receive(std::byte* data, std::size_t room) noexcept;
  ssize_t receive_with_descriptor(std::byte* data, std::size_t room) noexcept;

  std::string name_;
  std::vector<Address> addresses_;
  const bool is_local_;
  Clock::time_point deadline_{};
  std::size_t next_address_ = 0;
  Descriptor socket_;
  bool open_ = false;
  bool takes_descriptor_ = false;
  Descriptor received_;
};

/// HOST of HOST:PORT, without the brackets of an IPv6 address.
std::string host_of(const std::string& host_and_port);

/// TLS over TCP. @throws std::invalid_argument where the library was built without OpenSSL.
std::unique_ptr<ByteStream> make_tls_stream(const std::string& host_and_port,
                                            const Options& options);

}  // namespace policy_client
