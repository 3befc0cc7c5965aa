// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <sys/types.h>

#include <string>
#include <vector>

#include "policy_client/policy_source.hpp"

/// How often `new` ran so far.
std::size_t allocations_of_this_thread();

/// A folder that goes with its contents.
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
  /// Ends it with a signal, waits, and returns the signal or status that it ended with.
  int end(int signal);
  /// Waits until it ends by itself.
  int wait();
  bool runs() const { return process_ > 0; }

 private:
  pid_t process_ = -1;
  int in_ = -1;
  int out_ = -1;
};

/// peer.py at a socket of its own; it must still be well when the test ends.
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

/// Ends the tests, with a signal, where they take longer than that: a tick did not return.
class Limit {
 public:
  explicit Limit(unsigned seconds);
  ~Limit();
  Limit(const Limit&) = delete;
  Limit& operator=(const Limit&) = delete;
};

/// Options for a peer: three values in, two out, and much time.
policy_client::Options options_for(const std::string& source);

/// Checks that a client believes nothing of what a peer does, and is well with the next one.
/// @param transport  `unix` or `shm`.
void check_disbelief(const std::string& transport, const std::string& behaviour);

/// Ticks until the status is this one; what other statuses there were does not matter.
policy_client::Answer tick_until(policy_client::PolicySource& source, policy_client::Status status,
                                 const std::vector<float>& observation, std::vector<float>& action);

/// Ticks until the peer says so.
policy_client::Answer tick_until_said(policy_client::PolicySource& source, Peer& peer,
                                      const std::string& word,
                                      const std::vector<float>& observation,
                                      std::vector<float>& action);
