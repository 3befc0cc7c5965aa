// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "shared_memory.hpp"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstring>

#if !defined(F_SEAL_FUTURE_WRITE)
#define F_SEAL_FUTURE_WRITE 0x0010  // Of Linux 5.1; the C library may be older.
#endif

namespace policy_client {
namespace {

// Offsets of docs/service_protocol.md.
constexpr std::size_t requested_at = 0;
constexpr std::size_t answered_at = 64;
constexpr std::size_t client_sleeps_at = 128;
constexpr std::size_t service_sleeps_at = 192;
constexpr std::size_t request_at = 256;
constexpr std::size_t alignment = 64;
constexpr std::size_t least_answer_bytes = 512;
constexpr int looks_per_clock = 32;
constexpr int signals = 64;
/// A pipe that was not drained in time is full, and the wake that did not fit is lost.
constexpr std::chrono::milliseconds longest_sleep{1};

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

/// Whether a descriptor is of that kind, as the kernel names it. Even to poll a file of a file system
/// in user space waits for it. Its names begin with a slash, those that are asked for here do not.
bool is_kind(int fd, const char* kind) noexcept {
  char path[32];
  char target[32]{};
  std::snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
  return ::readlink(path, target, sizeof(target)) > 0 &&
         std::strncmp(target, kind, std::strlen(kind)) == 0;
}

/// Memory that the service cuts off later would end the process with SIGBUS, and so would a huge
/// page that is not left. Only memory has seals: no other file is asked what it is.
bool keeps_size(int fd, std::uint64_t bytes) noexcept {
  struct stat found {};
  struct statfs system {};
  const int seals = ::fcntl(fd, F_GET_SEALS);
  return seals >= 0 && (seals & F_SEAL_SHRINK) != 0 && ::fstatfs(fd, &system) == 0 &&
         system.f_type == TMPFS_MAGIC && ::fstat(fd, &found) == 0 &&
         static_cast<std::uint64_t>(found.st_size) >= bytes;
}

/// Who takes pages out of the memory makes each look at it wait for that; this ends it, once what is
/// to be written to is mapped. Kernels before 5.1 do not know it.
bool keeps_pages(int fd) noexcept {
  return ::fcntl(fd, F_ADD_SEALS, F_SEAL_FUTURE_WRITE) == 0 || errno == EINVAL;
}

}  // namespace

bool EventSignal::open(Descriptor event) noexcept {
  close();
  event_ = std::move(event);
  nothing_.reset(::memfd_create("policy_client", MFD_CLOEXEC));
  return nothing_ && ::syscall(SYS_io_setup, signals, &context_) == 0;
}

void EventSignal::ring() noexcept {
  char byte = 0;
  iocb nothing{};
  nothing.aio_lio_opcode = IOCB_CMD_PREAD;
  nothing.aio_fildes = static_cast<std::uint32_t>(nothing_.get());
  nothing.aio_buf = reinterpret_cast<std::uintptr_t>(&byte);
  nothing.aio_flags = IOCB_FLAG_RESFD;
  nothing.aio_resfd = static_cast<std::uint32_t>(event_.get());
  iocb* one = &nothing;
  // Each is done when the call returns, and there is room for so many until they are taken note of.
  if (::syscall(SYS_io_submit, context_, 1, &one) == 1) return;
  io_event done[signals];
  timespec now{};
  ::syscall(SYS_io_getevents, context_, 0, signals, done, &now);
  ::syscall(SYS_io_submit, context_, 1, &one);
}

void EventSignal::close() noexcept {
  if (context_ != 0) ::syscall(SYS_io_destroy, context_);
  context_ = 0;
  nothing_.reset();
  event_.reset();
}

bool SharedMemory::attach(ByteStream::Descriptors descriptors, const Welcome& welcome,
                          Message& message) noexcept {
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
  if (!is_kind(descriptors[1].get(), "anon_inode:[eventfd]") ||
      !is_kind(descriptors[2].get(), "pipe:[")) {
    message.set("shared memory: expected an eventfd and a pipe with it, found something else");
    return false;
  }
  if (!wake_service_.open(std::move(descriptors[1])) || !watch(std::move(descriptors[2]))) {
    message.set("shared memory: no asynchronous read or epoll: %s; use unix: instead",
                std::strerror(errno));
    return false;
  }
  // Of all that there is, only what is used: the application may lock what is mapped.
  void* mapped = ::mmap(nullptr, least, PROT_READ | PROT_WRITE, MAP_SHARED, memory, 0);
  if (mapped == MAP_FAILED) {
    message.set("shared memory: cannot map %llu bytes: %s", static_cast<unsigned long long>(least),
                std::strerror(errno));
    return false;
  }
  memory_ = static_cast<std::byte*>(mapped);
  bytes_ = least;
  if (!keeps_pages(memory)) {
    message.set("shared memory: expected a memfd that the client may seal, found: %s",
                std::strerror(errno));
    return false;
  }
  answer_offset_ = static_cast<std::size_t>(answer_at);
  return true;
}

bool SharedMemory::watch(Descriptor pipe) noexcept {
  pipe_ = std::move(pipe);
  new_wakes_.reset(::epoll_create1(EPOLL_CLOEXEC));
  epoll_event wanted{};
  wanted.events = EPOLLIN | EPOLLET;
  return new_wakes_ && ::epoll_ctl(new_wakes_.get(), EPOLL_CTL_ADD, pipe_.get(), &wanted) == 0;
}

bool SharedMemory::drain() noexcept {
  if (!attached()) return false;
  std::byte wakes[65536];
  int there = 0;
  if (::ioctl(pipe_.get(), FIONREAD, &there) == 0 && there > 1) {
    const auto most = std::min(static_cast<std::size_t>(there - 1), sizeof(wakes));
    [[maybe_unused]] const ssize_t got = ::read(pipe_.get(), wakes, most);
  }
  return true;
}

void SharedMemory::detach() noexcept {
  if (memory_ != nullptr) ::munmap(memory_, bytes_);
  memory_ = nullptr;
  wake_service_.close();
  new_wakes_.reset();
  pipe_.reset();
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
    wake_service_.ring();
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
    pollfd both[] = {{new_wakes_.get(), POLLIN, 0}, socket};
    poll_until(both, 2, std::min(until, Clock::now() + longest_sleep));
    socket.revents = both[1].revents;
    epoll_event seen{};
    if (both[0].revents != 0) ::epoll_wait(new_wakes_.get(), &seen, 1, 0);
  }
  __atomic_store_n(flag(memory_, client_sleeps_at), 0U, __ATOMIC_RELAXED);
}

}  // namespace policy_client
