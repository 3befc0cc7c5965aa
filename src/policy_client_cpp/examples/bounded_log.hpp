// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <semaphore.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

/// Writes lines to standard output for one thread that must not block.
///
/// The reader of a log may stop reading: Ctrl-S in a terminal, a full pipe. Then only the writing
/// thread blocks, and lines for which the buffer has no room are dropped and counted.
class BoundedLog {
 public:
  BoundedLog() {
    std::thread([lines = lines_] { lines->write_all(); }).detach();
  }

  /// Waits a limited time until the last lines are written, because a program must be able to end.
  ~BoundedLog() {
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(200);
    while (lines_->waiting() > 0 && std::chrono::steady_clock::now() < until) {
      std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
  }
  BoundedLog(const BoundedLog&) = delete;
  BoundedLog& operator=(const BoundedLog&) = delete;

  /// Adds one line, like printf; neither blocks nor allocates.
  void say(const char* format, ...) noexcept __attribute__((format(printf, 2, 3))) {
    if (lines_->waiting() == room) {
      ++dropped_;
      return;
    }
    char* line = lines_->text[lines_->said % room];
    std::size_t length = 0;
    if (dropped_ > 0) {
      length = static_cast<std::size_t>(
          std::snprintf(line, line_bytes, "(%llu lines were dropped) ", dropped_));
      dropped_ = 0;
    }
    std::va_list values;
    va_start(values, format);
    std::vsnprintf(line + length, line_bytes - length, format, values);
    va_end(values);
    ++lines_->said;
    ::sem_post(&lines_->more);
  }

 private:
  static constexpr unsigned room = 64;
  static constexpr std::size_t line_bytes = 512;

  /// The buffer, owned by both threads, since the writing one may be blocked when the program ends.
  struct Lines {
    Lines() { ::sem_init(&more, 0, 0); }

    unsigned waiting() const noexcept { return said - written; }

    void write_all() noexcept {
      while (true) {
        while (::sem_wait(&more) != 0) {
        }
        char* line = text[written % room];
        std::size_t left = std::strlen(line);
        line[left++] = '\n';  // Replaces the final zero.
        while (left > 0) {
          const ssize_t count = ::write(STDOUT_FILENO, line, left);
          if (count < 0 && errno == EINTR) continue;
          if (count <= 0) break;  // No reader is left: the line is lost, but the program continues.
          line += count;
          left -= static_cast<std::size_t>(count);
        }
        ++written;
      }
    }

    char text[room][line_bytes];
    std::atomic<unsigned> said{0};
    std::atomic<unsigned> written{0};
    sem_t more;
  };

  std::shared_ptr<Lines> lines_ = std::make_shared<Lines>();
  unsigned long long dropped_ = 0;
};
