// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "policy_client/policy_source.hpp"

/// Number of calls of `new` on this thread so far.
std::size_t allocations_of_this_thread();

/// A temporary folder, deleted with its contents.
class TemporaryFolder {
 public:
  TemporaryFolder();
  ~TemporaryFolder();
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  std::string file(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

/// A process with pipes to its standard input and output.
class Child {
 public:
  explicit Child(const std::vector<std::string>& command);
  ~Child();
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  std::string read_line();
  bool has_line() const;
  void write_line(const std::string& line);
  void stop_reading();
  void signal(int signal);
  /// Ends the process with a signal, waits, and returns the signal or status with which it ended.
  int end(int signal);
  /// Waits until the process ends by itself; returns the signal or status.
  int wait();
  bool runs() const { return process_ > 0; }

 private:
  pid_t process_ = -1;
  int in_ = -1;
  int out_ = -1;
};

/// Runs peer.py at its own socket; it must still work when the test ends.
class Peer {
 public:
  explicit Peer(std::vector<std::string> behaviours);
  ~Peer() noexcept(false);
  Child& process() { return child_; }
  std::string socket() const { return folder_.file("peer.sock"); }

 private:
  TemporaryFolder folder_;
  Child child_;
};

/// Ends the tests with a signal if they take longer than this, since a tick did not return.
class Limit {
 public:
  explicit Limit(unsigned seconds);
  ~Limit();
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
};

/// Options for a peer with three inputs and two outputs, and long time limits.
policy_client::Options options_for(const std::string& source);

/// Checks that a client rejects what a misbehaving peer sends, and then works with the next peer.
/// @param transport  `unix` or `shm`.
void check_disbelief(const std::string& transport, const std::string& behaviour);

/// Ticks until this status is returned, whatever other statuses come before it.
policy_client::Answer tick_until(policy_client::PolicySource& source, policy_client::Status status,
                                 const std::vector<float>& observation, std::vector<float>& action);

/// Ticks until the peer prints this word.
policy_client::Answer tick_until_said(policy_client::PolicySource& source, Peer& peer,
                                      const std::string& word,
                                      const std::vector<float>& observation,
                                      std::vector<float>& action);
