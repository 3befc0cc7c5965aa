// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
// Counts what is allocated. Apart from the rest: inlined, gcc takes `free` for a mismatch.
#include <cstdlib>
#include <new>

#include "support.hpp"

namespace {
thread_local std::size_t allocations = 0;
}

std::size_t allocations_of_this_thread() { return allocations; }

void* operator new(std::size_t size) {
  ++allocations;
  if (void* memory = std::malloc(size == 0 ? 1 : size)) return memory;
  throw std::bad_alloc();
}
void operator delete(void* memory) noexcept { std::free(memory); }
void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
