// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/sim_link.hpp"

#include <poll.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <stdexcept>

extern char** environ;

namespace policy_controllers {
namespace {

constexpr int kAnswerMs = 10'000, kStartMs = 60'000;
constexpr std::size_t kRows = 5, kSensedRows = 3, kImuValues = 10;
constexpr char kMagic[] = "SIMLINK1";
constexpr std::uint32_t kMostJoints = 1000, kLongestName = 1000;

bool is_readable(int channel, int timeout_ms) noexcept {
  pollfd waits{channel, POLLIN, 0};
  int ready;
  do ready = poll(&waits, 1, timeout_ms);
  while (ready < 0 && errno == EINTR);
  return ready > 0;
}

}  // namespace

SimLink::SimLink(const std::string& python, const std::vector<std::string>& arguments) {
  std::array<int, 2> ends{};
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends.data()) != 0) {
    throw std::runtime_error(std::string("sim_server: no socket pair: ") + std::strerror(errno));
  }
  channel_ = ends[0];
  // A copy that the child inherits, and only that child.
  const int theirs = 3;
  std::vector<std::string> words{python, "-m", "robot_sim.sim_server", "--channel",
                                 std::to_string(theirs)};
  words.insert(words.end(), arguments.begin(), arguments.end());
  std::vector<char*> argv;
  for (auto& word : words) argv.push_back(word.data());
  argv.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  // Where it is that number already, dup2 clears its flag in glibc 2.29 and later.
  posix_spawn_file_actions_adddup2(&actions, ends[1], theirs);
  posix_spawnattr_t attributes;
  posix_spawnattr_init(&attributes);
  sigset_t none;
  sigemptyset(&none);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
  const int failed =
      posix_spawnp(&process_, python.c_str(), &actions, &attributes, argv.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  posix_spawnattr_destroy(&attributes);
  close(ends[1]);
  if (failed) {
    process_ = -1;
    end();
    throw std::runtime_error("sim_server: expected the interpreter " + python + ", found: " +
                             std::strerror(failed));
  }
  std::array<char, 8> magic;
  std::uint32_t count = 0;
  bool is_greeted = is_readable(channel_, kStartMs) && receive(magic.data(), magic.size()) &&
                    std::memcmp(magic.data(), kMagic, magic.size()) == 0 &&
                    receive(&count, sizeof count) && count <= kMostJoints;
  for (std::uint32_t i = 0; is_greeted && i < count; ++i) {
    std::uint32_t size = 0;
    is_greeted = receive(&size, sizeof size) && size <= kLongestName;
    if (!is_greeted) break;
    std::string name(size, '\0');
    is_greeted = receive(name.data(), size);
    joints_.push_back(std::move(name));
  }
  if (!is_greeted || !receive(&step_ns_, sizeof step_ns_)) {
    end();
    throw std::runtime_error(
        "sim_server: expected a simulated robot, found a process that ended; it has said why");
  }
  command_.assign(kRows * joints_.size(), 0.0);
  sensed_.assign(kSensedRows * joints_.size() + kImuValues, 0.0);
  request_.resize(2 * sizeof(std::int64_t) + command_.size() * sizeof(double));
}

SimLink::~SimLink() { end(); }

void SimLink::end() noexcept {
  if (channel_ >= 0) close(channel_);
  channel_ = -1;
  if (process_ > 0) {
    // It ends with the channel; one that hangs is killed.
    for (int i = 0; i < 500 && waitpid(process_, nullptr, WNOHANG) == 0; ++i) usleep(10'000);
    if (kill(process_, 0) == 0 && waitpid(process_, nullptr, WNOHANG) == 0) {
      kill(process_, SIGKILL);
      waitpid(process_, nullptr, 0);
    }
  }
  process_ = -1;
}

bool SimLink::receive(void* data, std::size_t size) noexcept {
  auto* place = static_cast<std::uint8_t*>(data);
  while (size > 0) {
    if (!is_readable(channel_, kAnswerMs)) return false;
    const auto got = recv(channel_, place, size, 0);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) return false;
    place += got;
    size -= static_cast<std::size_t>(got);
  }
  return true;
}

bool SimLink::exchange(std::int64_t duration_ns, bool commands) noexcept {
  const std::int64_t flag = commands;
  std::memcpy(request_.data(), &duration_ns, sizeof duration_ns);
  std::memcpy(request_.data() + sizeof duration_ns, &flag, sizeof flag);
  std::memcpy(request_.data() + 2 * sizeof flag, command_.data(),
              command_.size() * sizeof(double));
  const auto sent = send(channel_, request_.data(), request_.size(), MSG_NOSIGNAL);
  if (sent != static_cast<ssize_t>(request_.size())) return false;
  return receive(head_, sizeof head_) && receive(sensed_.data(), sensed_.size() * sizeof(double));
}

}  // namespace policy_controllers
