// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "shared_memory.hpp"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

namespace policy_client {
namespace {

// Offsets of docs/service_protocol.md.
constexpr std::size_t requested_at = 0;
constexpr std::size_t answered_at = 64;
constexpr std::size_t client_sleeps_at = 128;
constexpr std::size_t service_sleeps_at = 192;
constexpr std::size_t request_at = 256;
constexpr std::size_t alignment = 64;
constexpr int looks_per_clock = 32;

std::uint64_t* counter(std::byte* memory, std::size_t offset) {
  return reinterpret_cast<std::uint64_t*>(memory + offset);
}

std::uint32_t* flag(std::byte* memory, std::size_t offset) {
  return reinterpret_cast<std::uint32_t*>(memory + offset);
}

void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

/// A stranger's descriptor might be a pipe, and writing to it a signal that ends the process.
bool is_eventfd(int fd) noexcept {
  char path[32];
  char target[32];
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  const ssize_t length = ::readlink(path, target, sizeof(target));
  static const char expected[] = "anon_inode:[eventfd]";
  return length == sizeof(expected) - 1 && std::memcmp(target, expected, sizeof(expected) - 1) == 0;
}

bool never_blocks(int fd) noexcept {
  const int flags = ::fcntl(fd, F_GETFL);
  return flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
}

/// Memory that somebody may cut off later would end the process with SIGBUS.
bool keeps_size(int fd, std::uint64_t bytes) noexcept {
  struct stat found {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && ::fstat(fd, &found) == 0 &&
         static_cast<std::uint64_t>(found.st_size) >= bytes;
}

}  // namespace

void poll_until(pollfd* descriptors, nfds_t count, Clock::time_point until) noexcept {
  const auto left = std::max<std::chrono::nanoseconds>(until - Clock::now(), {});
  const timespec time{static_cast<time_t>(left.count() / 1'000'000'000),
                      static_cast<long>(left.count() % 1'000'000'000)};
  if (::ppoll(descriptors, count, &time, nullptr) <= 0) {
    for (nfds_t i = 0; i < count; ++i) descriptors[i].revents = 0;
  }
}

bool SharedMemory::attach(ByteStream::Descriptors descriptors, const Welcome& welcome,
                          Message& message) noexcept {
  detach();
  const std::uint64_t request_bytes =
      sizeof(Header) + sizeof(float) * std::uint64_t{welcome.rows} * welcome.obs_dim;
  const std::uint64_t answer_at =
      request_at + (request_bytes + alignment - 1) / alignment * alignment;
  const std::uint64_t least =
      answer_at + sizeof(Header) + sizeof(float) * std::uint64_t{welcome.rows} * welcome.act_dim;
  if (welcome.shared_bytes < least) {
    message.set("shared memory: expected %llu bytes or more, found %u",
                static_cast<unsigned long long>(least), welcome.shared_bytes);
    return false;
  }
  if (!descriptors[0] || !descriptors[1] || !descriptors[2]) {
    message.set("shared memory: it came without its three descriptors; has this process too many "
                "open files?");
    return false;
  }
  const int memory = descriptors[0].get();
  if (!keeps_size(memory, welcome.shared_bytes)) {
    message.set("shared memory: expected a memfd of %u bytes that is sealed against shrinking",
                welcome.shared_bytes);
    return false;
  }
  if (!is_eventfd(descriptors[1].get()) || !never_blocks(descriptors[1].get()) ||
      !never_blocks(descriptors[2].get())) {
    message.set("shared memory: expected an eventfd and a pipe with it, found something else");
    return false;
  }
  void* mapped =
      ::mmap(nullptr, welcome.shared_bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (mapped == MAP_FAILED) {
    message.set("shared memory: cannot map %u bytes: %s", welcome.shared_bytes,
                std::strerror(errno));
    return false;
  }
  memory_ = static_cast<std::byte*>(mapped);
  bytes_ = welcome.shared_bytes;
  answer_offset_ = static_cast<std::size_t>(answer_at);
  wake_service_ = std::move(descriptors[1]);
  wake_client_ = std::move(descriptors[2]);
  return true;
}

void SharedMemory::detach() noexcept {
  if (memory_ != nullptr) ::munmap(memory_, bytes_);
  memory_ = nullptr;
  wake_service_.reset();
  wake_client_.reset();
  requested_ = answered_ = 0;
}

// The order of docs/service_protocol.md. A frame is written before its counter (release) and read
// after it (acquire). Who moves a counter looks at the other's flag afterwards, who raises its flag
// looks at the counter afterwards; a full fence between the two on either side means that at least
// one sees the other. Release and acquire alone would not do: on x86-64 as on aarch64 a load may be
// done before an earlier store to another word is seen.
void SharedMemory::send(const Header& header, const float* values) noexcept {
  std::memcpy(memory_ + request_at, &header, sizeof(header));
  std::memcpy(memory_ + request_at + sizeof(header), values, header.length);
  __atomic_store_n(counter(memory_, requested_at), ++requested_, __ATOMIC_RELEASE);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (__atomic_load_n(flag(memory_, service_sleeps_at), __ATOMIC_RELAXED) != 0) {
    const std::uint64_t one = 1;
    // Full is as good as one more: the service wakes up either way.
    [[maybe_unused]] const ssize_t written = ::write(wake_service_.get(), &one, sizeof(one));
  }
}

bool SharedMemory::has_answer() const noexcept {
  return __atomic_load_n(counter(memory_, answered_at), __ATOMIC_ACQUIRE) != answered_;
}

SharedMemory::Received SharedMemory::receive(std::byte* frame, std::size_t room) noexcept {
  if (!has_answer()) return Received::nothing;
  const std::uint64_t answered = __atomic_load_n(counter(memory_, answered_at), __ATOMIC_ACQUIRE);
  if (answered != answered_ + 1 || answered != requested_) return Received::broken;
  answered_ = answered;
  // Copied once and judged afterwards: what lies in the memory may change under our eyes.
  Header header;
  std::memcpy(&header, memory_ + answer_offset_, sizeof(header));
  const std::size_t most = std::min(room, bytes_ - answer_offset_) - sizeof(header);
  if (header.length > most) return Received::broken;
  std::memcpy(frame, &header, sizeof(header));
  std::memcpy(frame + sizeof(header), memory_ + answer_offset_ + sizeof(header), header.length);
  return Received::frame;
}

void SharedMemory::wait(Clock::time_point until, Clock::time_point spin_until,
                        pollfd& socket) noexcept {
  while (Clock::now() < spin_until) {
    for (int i = 0; i < looks_per_clock; ++i) {
      if (has_answer()) return;
      relax();
    }
  }
  __atomic_store_n(flag(memory_, client_sleeps_at), 1U, __ATOMIC_RELAXED);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  if (!has_answer()) {
    pollfd both[] = {{wake_client_.get(), POLLIN, 0}, socket};
    poll_until(both, 2, until);
    socket.revents = both[1].revents;
  }
  __atomic_store_n(flag(memory_, client_sleeps_at), 0U, __ATOMIC_RELAXED);
  std::byte rings[256];  // Some may be left over from answers that were found before the sleep.
  [[maybe_unused]] const ssize_t drained = ::read(wake_client_.get(), rings, sizeof(rings));
}

}  // namespace policy_client
