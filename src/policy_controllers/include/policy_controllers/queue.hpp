// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <cstddef>
#include <vector>

namespace policy_controllers {

/// Passes values from one thread to another without blocking; drops values if it is full.
template <class T>
class Queue {
 public:
  /// `like` determines the memory of each value.
  explicit Queue(std::size_t capacity, const T& like = T()) : slots_(capacity, like) {}

  void push(const T& value) noexcept {
    const auto end = end_.load(std::memory_order_relaxed);
    if (end - begin_.load(std::memory_order_acquire) == slots_.size()) return;
    slots_[end % slots_.size()] = value;
    end_.store(end + 1, std::memory_order_release);
  }

  /// The oldest value; null if there is none. Valid until `pop`.
  const T* front() const noexcept {
    const auto begin = begin_.load(std::memory_order_relaxed);
    if (begin == end_.load(std::memory_order_acquire)) return nullptr;
    return &slots_[begin % slots_.size()];
  }
  void pop() noexcept {
    begin_.store(begin_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

 private:
  std::vector<T> slots_;
  std::atomic<std::size_t> begin_{0}, end_{0};
};

}  // namespace policy_controllers
