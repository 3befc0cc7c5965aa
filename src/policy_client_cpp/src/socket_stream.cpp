// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/un.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "byte_stream.hpp"

namespace policy_client {
namespace {

std::size_t colon_of(const std::string& host_and_port) {
  const std::size_t colon = host_and_port.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == host_and_port.size()) {
    throw std::invalid_argument("source: expected HOST:PORT, found '" + host_and_port + "'");
  }
  return colon;
}

}  // namespace

std::string host_of(const std::string& host_and_port) {
  std::string host = host_and_port.substr(0, colon_of(host_and_port));
  if (host.size() > 2 && host.front() == '[' && host.back() == ']') {
    host = host.substr(1, host.size() - 2);
  }
  return host;
}

std::unique_ptr<SocketStream> SocketStream::unix_socket(const std::string& path) {
  Address address;
  auto* name = reinterpret_cast<sockaddr_un*>(&address.storage);
  if (path.empty() || path.size() >= sizeof(name->sun_path)) {
    throw std::invalid_argument("source: expected a path of 1 to " +
                                std::to_string(sizeof(name->sun_path) - 1) + " bytes, found '" +
                                path + "'");
  }
  name->sun_family = AF_UNIX;
  std::memcpy(name->sun_path, path.c_str(), path.size() + 1);
  address.length = sizeof(sockaddr_un);
  return std::make_unique<SocketStream>(path, std::vector<Address>{address});
}

std::unique_ptr<SocketStream> SocketStream::tcp(const std::string& host_and_port) {
  const std::string host = host_of(host_and_port);
  const std::string port = host_and_port.substr(colon_of(host_and_port) + 1);
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  wanted.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  if (const int error = ::getaddrinfo(host.c_str(), port.c_str(), &wanted, &found)) {
    throw std::runtime_error("source: " + host_and_port + ": " + ::gai_strerror(error));
  }
  std::vector<Address> addresses;
  for (const addrinfo* one = found; one != nullptr; one = one->ai_next) {
    Address address;
    std::memcpy(&address.storage, one->ai_addr, one->ai_addrlen);
    address.length = one->ai_addrlen;
    addresses.push_back(address);
  }
  ::freeaddrinfo(found);
  return std::make_unique<SocketStream>(host_and_port, std::move(addresses));
}

SocketStream::SocketStream(std::string name, std::vector<Address> addresses)
    : name_(std::move(name)),
      addresses_(std::move(addresses)),
      is_local_(addresses_.front().storage.ss_family == AF_UNIX) {}

bool SocketStream::is_loopback() const noexcept {
  return std::all_of(addresses_.begin(), addresses_.end(), [](const Address& address) {
    if (address.storage.ss_family == AF_INET) {
      const auto& name = reinterpret_cast<const sockaddr_in&>(address.storage);
      return ::ntohl(name.sin_addr.s_addr) >> 24 == IN_LOOPBACKNET;
    }
    const auto& name = reinterpret_cast<const sockaddr_in6&>(address.storage);
    return address.storage.ss_family == AF_INET6 && IN6_IS_ADDR_LOOPBACK(&name.sin6_addr);
  });
}

Io SocketStream::open(Message& message) noexcept {
  if (open_) return Io::done;
  return socket_ ? finish(message) : start(message);
}

Io SocketStream::start(Message& message) noexcept {
  // A name may stand for several addresses: each attempt takes the next one.
  const Address& address = addresses_[next_address_];
  next_address_ = (next_address_ + 1) % addresses_.size();
  const int family = address.storage.ss_family;
  socket_.reset(::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!socket_) {
    message.set("%s: no socket: %s", name_.c_str(), std::strerror(errno));
    return Io::failed;
  }
  if (family != AF_UNIX) {
    const int on = 1;  // A request is one small packet and must not wait for another.
    ::setsockopt(socket_.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  } else {
    const int on = 1;  // Urgent bytes would be left out when looking, with what they bring.
    ::setsockopt(socket_.get(), SOL_SOCKET, SO_OOBINLINE, &on, sizeof(on));
  }
  const auto* name = reinterpret_cast<const sockaddr*>(&address.storage);
  if (::connect(socket_.get(), name, address.length) == 0) {
    open_ = true;
    return Io::done;
  }
  if (errno == EINPROGRESS) return Io::again;
  message.set("%s: cannot connect: %s", name_.c_str(), std::strerror(errno));
  return Io::failed;
}

Io SocketStream::finish(Message& message) noexcept {
  pollfd writable{socket_.get(), POLLOUT, 0};
  if (::poll(&writable, 1, 0) == 0) return Io::again;
  int error = 0;
  socklen_t length = sizeof(error);
  ::getsockopt(socket_.get(), SOL_SOCKET, SO_ERROR, &error, &length);
  if (error != 0) {
    message.set("%s: cannot connect: %s", name_.c_str(), std::strerror(error));
    return Io::failed;
  }
  open_ = true;
  return Io::done;
}

Io SocketStream::read(std::byte* data, std::size_t room, std::size_t& count,
                      Message& message) noexcept {
  if (Clock::now() >= deadline_) return Io::again;
  const ssize_t got =
      takes_descriptor_ ? receive_with_descriptor(data, room) : receive(data, room);
  if (got > 0) {
    count = static_cast<std::size_t>(got);
    return Io::done;
  }
  if (got < 0 && (errno == EAGAIN || errno == EINTR)) return Io::again;
  message.set("%s: %s", name_.c_str(),
              got == 0 ? "the service closed the connection"
              : errno == ETOOMANYREFS
                  ? "expected bytes alone, found file descriptors with them"
                  : std::strerror(errno));
  return Io::failed;
}

/// recv(), but for descriptors: ETOOMANYREFS. Taken or not, the kernel would leave it to this thread
/// to close them, and of a socket that lingers that takes hours. A look does not move them.
ssize_t SocketStream::receive(std::byte* data, std::size_t room) noexcept {
  if (!is_local_) return ::recv(socket_.get(), data, room, 0);
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

ssize_t SocketStream::receive_with_descriptor(std::byte* data, std::size_t room) noexcept {
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

Io SocketStream::write(const std::byte* data, std::size_t size, std::size_t& count,
                       Message& message) noexcept {
  if (Clock::now() >= deadline_) return Io::again;
  const ssize_t sent = ::send(socket_.get(), data, size, MSG_NOSIGNAL);
  if (sent >= 0) {
    count = static_cast<std::size_t>(sent);
    return Io::done;
  }
  if (errno == EAGAIN || errno == EINTR) return Io::again;
  message.set("%s: %s", name_.c_str(), std::strerror(errno));
  return Io::failed;
}

void SocketStream::close() noexcept {
  socket_.reset();
  open_ = false;
  received_.reset();
}

pollfd SocketStream::wanted(bool writing) const noexcept {
  return {socket_.get(), static_cast<short>(!open_ || writing ? POLLIN | POLLOUT : POLLIN), 0};
}

}  // namespace policy_client
