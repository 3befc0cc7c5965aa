// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdarg>
#include <cstdio>

namespace policy_client {

/// A text written without allocation; what exceeds its size is cut off.
class Message {
 public:
  void set(const char* format, ...) noexcept __attribute__((format(printf, 2, 3))) {
    std::va_list values;
    va_start(values, format);
    std::vsnprintf(text_, sizeof(text_), format, values);
    va_end(values);
  }

  void clear() noexcept { text_[0] = '\0'; }

  const char* text() const noexcept { return text_; }

 private:
  char text_[512] = "";
};

}  // namespace policy_client
