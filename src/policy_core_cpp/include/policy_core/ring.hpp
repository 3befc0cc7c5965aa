// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <vector>

namespace policy_core {

/// A deque of the newest values, up to a fixed number, oldest first. It allocates only on
/// construction; values that are popped or pushed out are overwritten later.
template <class T>
class Ring {
 public:
  /// `like` is a value with the memory that each one needs.
  explicit Ring(std::size_t capacity, const T& like = T()) : values_(capacity, like) {}

  std::size_t size() const noexcept { return size_; }
  std::size_t capacity() const noexcept { return values_.size(); }
  bool empty() const noexcept { return size_ == 0; }
  void clear() noexcept { begin_ = size_ = 0; }
  /// Makes room for the newest value, which the caller writes; the capacity must not be 0.
  T& push() noexcept {
    if (size_ == capacity()) pop();
    return at(size_++);
  }
  void pop() noexcept {
    begin_ = (begin_ + 1) % capacity();
    --size_;
  }
  /// Any value, with the memory that each one has; the capacity must not be 0.
  T& like() noexcept { return values_[0]; }
  T& operator[](std::size_t i) noexcept { return at(i); }
  const T& operator[](std::size_t i) const noexcept { return const_cast<Ring*>(this)->at(i); }
  T& back() noexcept { return at(size_ - 1); }
  const T& back() const noexcept { return (*this)[size_ - 1]; }

 private:
  T& at(std::size_t i) noexcept { return values_[(begin_ + i) % capacity()]; }

  std::vector<T> values_;
  std::size_t begin_ = 0, size_ = 0;
};

}  // namespace policy_core
