// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "shared_memory.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>

#if !defined(F_SEAL_FUTURE_WRITE)
#define F_SEAL_FUTURE_WRITE 0x0010  // Since Linux 5.1; the C library may be older.
#endif

namespace policy_client {
namespace {

// Offsets from docs/service_protocol.md.
constexpr std::size_t requested_at = 0;
constexpr std::size_t answered_at = 64;
constexpr std::size_t client_sleeps_at = 128;
constexpr std::size_t service_sleeps_at = 192;
constexpr std::size_t request_at = 256;
constexpr std::size_t alignment = 64;
constexpr std::size_t least_answer_bytes = 512;
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

/// If the service truncated the memory later, SIGBUS would end the process, and so would a missing
/// huge page. Only memory has seals: no other file is queried.
bool keeps_size(int fd, std::uint64_t bytes) noexcept {
  struct stat found {};
  struct statfs system {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && ::fstatfs(fd, &system) == 0 &&
         system.f_type == TMPFS_MAGIC && ::fstat(fd, &found) == 0 &&
         static_cast<std::uint64_t>(found.st_size) >= bytes;
}

/// A sender that removes pages from the memory would make each access wait; this prevents it, once
/// the writable part is mapped. Kernels before 5.1 lack this seal.
bool keeps_pages(int fd) noexcept {
  return ::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0 || errno == EINVAL;
}

}  // namespace

bool SharedMemory::attach(Descriptor memory, const Welcome& welcome, Message& message) noexcept {
  detach();
  const std::uint64_t request_bytes =
      sizeof(Header) + sizeof(float) * std::uint64_t{welcome.rows} * welcome.obs_dim;
  const std::uint64_t answer_at =
      request_at + (request_bytes + alignment - 1) / alignment * alignment;
  const std::uint64_t least =
      answer_at + sizeof(Header) +
      std::max<std::uint64_t>(least_answer_bytes,
                              sizeof(float) * std::uint64_t{welcome.rows} * welcome.act_dim);
  if (welcome.shared_bytes < least) {
    message.set("shared memory: expected %llu bytes or more, found %u",
                static_cast<unsigned long long>(least), welcome.shared_bytes);
    return false;
  }
  if (!memory) {
    message.set("shared memory: it arrived without its descriptor; does this process have too "
                "many open files?");
    return false;
  }
  if (!keeps_size(memory.get(), welcome.shared_bytes)) {
    message.set("shared memory: expected a memfd of %u bytes that is sealed against shrinking",
                welcome.shared_bytes);
    return false;
  }
  // Map only the used part: the application may lock mapped memory.
  void* mapped = ::mmap(nullptr, least, PROT_READ | PROT_WRITE, MAP_SHARED, memory.get(), 0);
  if (mapped == MAP_FAILED) {
    message.set("shared memory: cannot map %llu bytes: %s", static_cast<unsigned long long>(least),
                std::strerror(errno));
    return false;
  }
  memory_ = static_cast<std::byte*>(mapped);
  bytes_ = least;
  if (!keeps_pages(memory.get())) {
    message.set("shared memory: expected a memfd that the client may seal, found: %s",
                std::strerror(errno));
    return false;
  }
  answer_offset_ = static_cast<std::size_t>(answer_at);
  return true;
}

void SharedMemory::detach() noexcept {
  if (memory_ != nullptr) ::munmap(memory_, bytes_);
  memory_ = nullptr;
  requested_ = answered_ = 0;
}

// The order in docs/service_protocol.md. A frame is written before its counter (release) and read
// after it (acquire). The side that moves a counter then checks the other's flag; the side that
// raises its flag then checks the counter; a full fence between the two steps on either side means
// that at least one sees the other. Release and acquire alone are not enough: on x86-64 and aarch64
// a load may be executed before an earlier store to another word is visible.
bool SharedMemory::send(const Header& header, const float* values) noexcept {
  std::memcpy(memory_ + request_at, &header, sizeof(header));
  std::memcpy(memory_ + request_at + sizeof(header), values, header.length);
  __atomic_store_n(counter(memory_, requested_at), ++requested_, __ATOMIC_RELEASE);
  std::atomic_thread_fence(std::memory_order_seq_cst);
  return __atomic_load_n(flag(memory_, service_sleeps_at), __ATOMIC_RELAXED) != 0;
}

bool SharedMemory::has_answer() const noexcept {
  return __atomic_load_n(counter(memory_, answered_at), __ATOMIC_ACQUIRE) != answered_;
}

SharedMemory::Received SharedMemory::receive(std::byte* frame, std::size_t room) noexcept {
  if (!has_answer()) return Received::nothing;
  const std::uint64_t answered = __atomic_load_n(counter(memory_, answered_at), __ATOMIC_ACQUIRE);
  if (answered != answered_ + 1 || answered != requested_) return Received::broken;
  answered_ = answered;
  // Copy once, then check: the memory may change at any time.
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
  if (!has_answer()) poll_until(&socket, 1, until);
  __atomic_store_n(flag(memory_, client_sleeps_at), 0U, __ATOMIC_RELAXED);
}

}  // namespace policy_client
