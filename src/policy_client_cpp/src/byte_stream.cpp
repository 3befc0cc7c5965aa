// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "byte_stream.hpp"

#include <sys/socket.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace policy_client {

ByteStream::ByteStream(const std::string& path) {
  if (path.empty() || path.size() >= sizeof(address_.sun_path)) {
    throw std::invalid_argument("source: expected a path of 1 to " +
                                std::to_string(sizeof(address_.sun_path) - 1) +
                                " bytes, found '" + path + "'");
  }
  address_.sun_family = AF_UNIX;
  std::memcpy(address_.sun_path, path.c_str(), path.size() + 1);
}

bool ByteStream::open(Message& message) noexcept {
  socket_.reset(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_) {
    message.set("%s: no socket: %s", address_.sun_path, std::strerror(errno));
    return false;
  }
  const int on = 1;  // Out-of-band bytes would be left out when peeking, with their descriptors.
  ::setsockopt(socket_.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
  const auto* name = reinterpret_cast<const sockaddr*>(&address_);
  if (::connect(socket_.get(), name, sizeof(address_)) == 0) return true;
  message.set("%s: cannot connect: %s", address_.sun_path, std::strerror(errno));
  return false;
}

Io ByteStream::read(std::byte* data, std::size_t room, std::size_t& count,
                    Message& message) noexcept {
  if (Clock::now() >= deadline_) return Io::again;
  const ssize_t got =
      takes_descriptor_ ? receive_with_descriptor(data, room) : receive(data, room);
  if (got > 0) {
    count = static_cast<std::size_t>(got);
    return Io::done;
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Io::again;
  message.set("%s: %s", address_.sun_path,
              got == 0 ? "the service closed the connection"
              : errno == ETOOMANYREFS
                  ? "expected only bytes, found file descriptors as well"
                  : std::strerror(errno));
  return Io::failed;
}

/// recv(), except for descriptors: ETOOMANYREFS. Taken or not, the kernel would make this thread
/// close them, which takes hours for a lingering socket. Peeking does not move them.
ssize_t ByteStream::receive(std::byte* data, std::size_t room) noexcept {
  iovec bytes{data, room};
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  const ssize_t got = ::recvmsg(socket_.get(), &header, MSG_PEEK);
  if (got <= 0) return got;
  if ((header.msg_flags & MSG_CTRUNC) != 0) {
    errno = ETOOMANYREFS;
    return -1;
  }
  return ::recv(socket_.get(), data, static_cast<std::size_t>(got), 0);
}

ssize_t ByteStream::receive_with_descriptor(std::byte* data, std::size_t room) noexcept {
  iovec bytes{data, room};
  alignas(cmsghdr) std::byte control[CMSG_SPACE(sizeof(int))];
  msghdr header{};
  header.msg_iov = &bytes;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = CMSG_LEN(sizeof(int));  // no room for a second one in the padding
  const ssize_t got = ::recvmsg(socket_.get(), &header, MSG_CMSG_CLOEXEC);
  const cmsghdr* part = got > 0 ? CMSG_FIRSTHDR(&header) : nullptr;
  if (part != nullptr && part->cmsg_level == SOL_SOCKET && part->cmsg_type == SCM_RIGHTS &&
      part->cmsg_len == CMSG_LEN(sizeof(int))) {
    int fd = -1;
    std::memcpy(&fd, CMSG_DATA(part), sizeof(fd));
    received_.reset(fd);
  }
  return got;
}

Io ByteStream::write(const std::byte* data, std::size_t size, std::size_t& count,
                     Message& message) noexcept {
  if (Clock::now() >= deadline_) return Io::again;
  const ssize_t sent = ::send(socket_.get(), data, size, MSG_NOSIGNAL);
  if (sent >= 0) {
    count = static_cast<std::size_t>(sent);
    return Io::done;
  }
  if (errno == EAGAIN || errno == EINTR) return Io::again;
  message.set("%s: %s", address_.sun_path, std::strerror(errno));
  return Io::failed;
}

void ByteStream::close() noexcept {
  socket_.reset();
  received_.reset();
}

pollfd ByteStream::wanted(bool writing) const noexcept {
  return {socket_.get(), static_cast<short>(writing ? POLLIN | POLLOUT : POLLIN), 0};
}

}  // namespace policy_client
