// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "support.hpp"

#include <doctest/doctest.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <stdexcept>

TemporaryFolder::TemporaryFolder() {
  std::string pattern = (std::filesystem::temp_directory_path() / "policy_client.XXXXXX").string();
  if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("no temporary folder");
  path_ = pattern;
}

TemporaryFolder::~TemporaryFolder() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

Child::Child(const std::vector<std::string>& command) {
  int to_child[2];
  int from_child[2];
  REQUIRE(::pipe2(to_child, O_CLOEXEC) == 0);
  REQUIRE(::pipe2(from_child, O_CLOEXEC) == 0);
  std::vector<char*> arguments;
  for (const std::string& part : command) arguments.push_back(const_cast<char*>(part.c_str()));
  arguments.push_back(nullptr);
  process_ = ::fork();
  REQUIRE(process_ >= 0);
  if (process_ == 0) {
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    ::dup2(to_child[0], STDIN_FILENO);
    ::dup2(from_child[1], STDOUT_FILENO);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
  }
  ::close(to_child[0]);
  ::close(from_child[1]);
  in_ = to_child[1];
  out_ = from_child[0];
}

Child::~Child() {
  if (process_ > 0) end(SIGKILL);
  ::close(in_);
  stop_reading();
}

std::string Child::read_line() {
  std::string line;
  char c = 0;
  while (::read(out_, &c, 1) == 1 && c != '\n') line += c;
  return line;
}

bool Child::has_line() const {
  pollfd output{out_, POLLIN, 0};
  return ::poll(&output, 1, 0) == 1;
}

void Child::write_line(const std::string& line) {
  const std::string text = line + "\n";
  REQUIRE(::write(in_, text.data(), text.size()) == static_cast<ssize_t>(text.size()));
}

void Child::stop_reading() {
  if (out_ >= 0) ::close(out_);
  out_ = -1;
}

void Child::signal(int signal) { REQUIRE(::kill(process_, signal) == 0); }

int Child::end(int signal) {
  ::kill(process_, signal);
  return wait();
}

int Child::wait() {
  int status = 0;
  ::waitpid(process_, &status, 0);
  process_ = -1;
  return WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
}

Peer::Peer(std::vector<std::string> behaviours)
    : child_([&] {
        behaviours.insert(behaviours.begin(), {TEST_PYTHON, TEST_FOLDER "/peer.py", socket()});
        return behaviours;
      }()) {
  REQUIRE(child_.read_line() == "ready");
}

Peer::~Peer() noexcept(false) {
  // A peer that found a fault with the client has ended by itself, with status 1.
  CHECK(child_.end(SIGTERM) == SIGTERM);
}

Limit::Limit(unsigned seconds) { ::alarm(seconds); }

Limit::~Limit() { ::alarm(0); }

policy_client::Options options_for(const std::string& source) {
  policy_client::Options options;
  options.source = source;
  options.obs_dim = 3;
  options.act_dim = 2;
  options.timeout = std::chrono::seconds(20);
  options.answer_limit = std::chrono::seconds(20);
  options.retry_first = std::chrono::milliseconds(1);
  options.retry_most = std::chrono::milliseconds(4);
  return options;
}

void check_disbelief(const std::string& transport, const std::string& behaviour) {
  CAPTURE(behaviour);
  const std::vector<float> asked{1.0F, 2.0F, 4.0F};
  Peer peer({behaviour, "honest"});
  const auto source = policy_client::make_policy_source(options_for(transport + ":" + peer.socket()));
  std::vector<float> action{-1.0F, -1.0F};
  const auto answer = source->tick(asked.data(), 0, action.data());
  CHECK(answer.status == policy_client::Status::disconnected);
  CHECK_FALSE(std::string(source->message()).empty());
  CHECK(action == std::vector<float>{-1.0F, -1.0F});
  tick_until(*source, policy_client::Status::ok, asked, action);
  CHECK(action == std::vector<float>{7.0F, 3.0F});
}

policy_client::Answer tick_until(policy_client::PolicySource& source, policy_client::Status status,
                                 const std::vector<float>& observation,
                                 std::vector<float>& action) {
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  policy_client::Answer answer;
  do {
    answer = source.tick(observation.data(), 1, action.data());
  } while (answer.status != status && std::chrono::steady_clock::now() < until);
  INFO(source.message());
  REQUIRE(std::string(to_string(answer.status)) == to_string(status));
  return answer;
}

policy_client::Answer tick_until_said(policy_client::PolicySource& source, Peer& peer,
                                      const std::string& word,
                                      const std::vector<float>& observation,
                                      std::vector<float>& action) {
  policy_client::Answer answer;
  do {
    answer = source.tick(observation.data(), 1, action.data());
  } while (!peer.process().has_line());
  REQUIRE(peer.process().read_line() == word);
  return answer;
}
