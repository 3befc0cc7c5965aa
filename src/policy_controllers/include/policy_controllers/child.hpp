// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

namespace policy_controllers {

/// A program that is started with one end of a socket pair, and ends when the other end closes.
///
/// Only this process has the other end, so the program ends with this process, however that ends.
class Child {
 public:
  /// Starts `words`, with `--channel=` and the descriptor of its end appended. Its standard error
  /// goes to this process's. Throws std::runtime_error.
  explicit Child(const std::vector<std::string>& words);
  /// Closes this end and waits until the program has ended; kills it if it does not.
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  /// This end, which preserves message boundaries.
  int socket() const noexcept { return socket_; }
  /// Closes this end; returns how the program ended: "status 2", "signal 9". May take seconds.
  const std::string& end();

 private:
  int socket_ = -1;
  pid_t pid_ = -1;
  std::string how_;
};

}  // namespace policy_controllers
