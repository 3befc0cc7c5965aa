// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/sim_link.hpp"

#include <sys/socket.h>
#include <sys/time.h>
#include <sys/uio.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

namespace policy_controllers {
namespace {

constexpr char kMagic[] = "ROBOTSIM";
constexpr std::int64_t kVersion = 1, kRefused = -1, kMostJoints = 1000;
/// Size limit of the names of all joints, and of a refusal.
constexpr std::size_t kLongestText = 32768;

struct Greeting {
  char magic[8];
  std::int64_t version, joints, step_ns;
};

[[noreturn]] void fail(const std::string& expected, const std::string& found) {
  throw std::runtime_error("the simulated robot: expected " + expected + ", found " + found);
}

}  // namespace

SimLink::SimLink(const std::vector<std::string>& words, std::chrono::milliseconds start_limit,
                 std::chrono::milliseconds answer_limit)
    : child_(words) {
  wait_at_most(start_limit);
  greet();
  is_answer_pending_ = true;
  receive();
  wait_at_most(answer_limit);
}

void SimLink::greet() {
  Greeting greeting{};
  std::string names(kLongestText, '\0');
  const auto size = take(&greeting, sizeof greeting, names.data(), names.size());
  if (size < sizeof greeting || std::memcmp(greeting.magic, kMagic, sizeof greeting.magic) != 0) {
    fail("a greeting from robot_sim.sim_server", std::to_string(size) + " bytes that are not one");
  }
  if (greeting.version != kVersion) {
    fail("version " + std::to_string(kVersion) + " of its messages",
         "version " + std::to_string(greeting.version) + "; install robot_sim of this version");
  }
  if (greeting.joints < 1 || greeting.joints > kMostJoints || greeting.step_ns < 1) {
    fail("joints and a physics step", std::to_string(greeting.joints) + " joints and " +
                                          std::to_string(greeting.step_ns) + " ns");
  }
  step_ns_ = greeting.step_ns;
  for (const char* name = names.c_str(); joints_.size() < std::size_t(greeting.joints);) {
    joints_.emplace_back(name);
    name += joints_.back().size() + 1;
    if (joints_.back().empty() || name > names.data() + size - sizeof greeting) {
      fail("the names of " + std::to_string(greeting.joints) + " joints",
           std::to_string(joints_.size() - 1));
    }
  }
  commands_.assign(kCommands * joints_.size(), 0.0);
  // Room for a refusal, whose reason replaces the numbers.
  values_.assign(count() + kLongestText / sizeof(double), 0.0);
}

void SimLink::send(std::int64_t duration_ns, bool is_commanded) {
  const iovec parts[2] = {{&duration_ns, sizeof duration_ns},
                          {commands_.data(), commands_.size() * sizeof(double)}};
  msghdr message{};
  message.msg_iov = const_cast<iovec*>(parts);
  message.msg_iovlen = is_commanded ? 2 : 1;
  if (::sendmsg(child_.socket(), &message, MSG_NOSIGNAL) < 0) {
    const int error = errno;
    if (error != EPIPE && error != ECONNRESET) {
      fail("its socket to take a request", std::strerror(error));
    }
    fail_ended();
  }
  is_answer_pending_ = true;
}

void SimLink::receive() {
  if (!is_answer_pending_) return;
  is_answer_pending_ = false;
  const auto expected = sizeof head_ + count() * sizeof(double);
  const auto size =
      take(head_.data(), sizeof head_, values_.data(), values_.size() * sizeof(double));
  if (size >= sizeof head_[0] && head_[0] == kRefused) refuse(size);
  if (size != expected) {
    fail("an answer of " + std::to_string(expected) + " bytes", std::to_string(size));
  }
}

void SimLink::refuse(std::size_t size) {
  std::string text(reinterpret_cast<const char*>(head_.data() + 1), sizeof head_ - sizeof head_[0]);
  if (size > sizeof head_) {
    text.append(reinterpret_cast<const char*>(values_.data()), size - sizeof head_);
  }
  throw std::runtime_error("the simulated robot: " + text.substr(0, size - sizeof head_[0]));
}

std::size_t SimLink::take(void* data, std::size_t size, void* more, std::size_t room) {
  iovec parts[2] = {{data, size}, {more, room}};
  msghdr message{};
  message.msg_iov = parts;
  message.msg_iovlen = 2;
  ssize_t got;
  do {
    got = ::recvmsg(child_.socket(), &message, 0);
  } while (got < 0 && errno == EINTR);
  if (got > 0) return static_cast<std::size_t>(got);
  if (got < 0 && errno != ECONNRESET) {
    if (errno != EAGAIN) fail("its socket to bring an answer", std::strerror(errno));
    fail("an answer within " + std::to_string(limit_.count()) + " ms",
         "none; reduce the load on the machine");
  }
  fail_ended();
}

void SimLink::fail_ended() {
  fail("its process to run", "that it ended with " + child_.end() + "; see its output above");
}

void SimLink::wait_at_most(std::chrono::milliseconds limit) {
  limit_ = limit;
  const timeval time{limit.count() / 1000, limit.count() % 1000 * 1000};
  ::setsockopt(child_.socket(), SOL_SOCKET, SO_RCVTIMEO, &time, sizeof time);
}

}  // namespace policy_controllers
