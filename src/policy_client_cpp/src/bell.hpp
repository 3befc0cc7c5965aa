// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <poll.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <system_error>

#include "descriptor.hpp"

namespace policy_client {

using Clock = std::chrono::steady_clock;

/// Calls poll() with an absolute time limit; if it is interrupted, no descriptor has an event.
inline void poll_until(pollfd* descriptors, nfds_t count, Clock::time_point until) noexcept {
  // For Clock::time_point::max(), a day is enough: all callers check the time again.
  const auto left = std::clamp<std::chrono::nanoseconds>(until - Clock::now(), {},
                                                         std::chrono::hours(24));
  const timespec time{static_cast<time_t>(left.count() / 1'000'000'000),
                      static_cast<long>(left.count() % 1'000'000'000)};
  if (::ppoll(descriptors, count, &time, nullptr) <= 0) {
    for (nfds_t i = 0; i < count; ++i) descriptors[i].revents = 0;
  }
}

/// Wakes another thread of this process; no other process shares it, so neither end can block.
class Bell {
 public:
  /// @throws std::system_error if the process has no descriptor left.
  Bell() : event_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!event_) throw std::system_error(errno, std::generic_category(), "eventfd");
  }

  void ring() noexcept {
    const std::uint64_t one = 1;
    // if it is full, the other thread will wake anyway
    [[maybe_unused]] const ssize_t written = ::write(event_.get(), &one, sizeof(one));
  }

  void clear() noexcept {
    std::uint64_t rings = 0;
    [[maybe_unused]] const ssize_t got = ::read(event_.get(), &rings, sizeof(rings));
  }

  int get() const noexcept { return event_.get(); }

 private:
  Descriptor event_;
};

}  // namespace policy_client
