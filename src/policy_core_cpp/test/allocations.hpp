// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

// Counts the allocations of a thread while `counting` is set.

#include <cstdlib>
#include <utility>

inline thread_local bool counting = false;
inline thread_local long allocations = 0;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED
#endif
/// After a function's parameters: makes RealtimeSanitizer forbid calls in it that may block.
#define NONBLOCKING
#if defined(__has_feature)
#if __has_feature(realtime_sanitizer)
#define SANITIZED
#undef NONBLOCKING
#define NONBLOCKING [[clang::nonblocking]]
#endif
#endif

#ifndef SANITIZED
// Replaces malloc in the whole process, for C and C++; a sanitizer has its own.
extern "C" void* __libc_malloc(std::size_t size);
extern "C" void* malloc(std::size_t size) {
  if (counting) ++allocations;
  return __libc_malloc(size);
}
#endif

/// True if an allocation is counted, or a sanitizer prevents counting.
inline bool counts() {
#ifdef SANITIZED
  return true;
#else
  counting = true;
  void* volatile one = std::malloc(1);
  counting = false;
  std::free(one);
  return std::exchange(allocations, 0) == 1;
#endif
}
