// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <sys/resource.h>
#include <unistd.h>

#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {
const std::vector<float> observation{1.0F, 2.0F, 4.0F};
const std::vector<float> expected{7.0F, 3.0F};

/// Leaves this process so many more descriptors, while it lives.
class FewDescriptors {
 public:
  explicit FewDescriptors(std::size_t left) {
    REQUIRE(::getrlimit(RLIMIT_NOFILE, &usual_) == 0);
    const rlimit few{32, usual_.rlim_max};
    REQUIRE(::setrlimit(RLIMIT_NOFILE, &few) == 0);
    for (int fd = ::dup(0); fd >= 0; fd = ::dup(0)) taken_.push_back(fd);
    REQUIRE(taken_.size() >= left);
    for (; left > 0; --left) give_one_back();
  }
  ~FewDescriptors() {
    while (!taken_.empty()) give_one_back();
    ::setrlimit(RLIMIT_NOFILE, &usual_);
  }
  FewDescriptors(const FewDescriptors&) = delete;
  FewDescriptors& operator=(const FewDescriptors&) = delete;

 private:
  void give_one_back() {
    ::close(taken_.back());
    taken_.pop_back();
  }

  rlimit usual_{};
  std::vector<int> taken_;
};

}  // namespace

TEST_SUITE_BEGIN("shared_memory");

TEST_CASE("requests are answered through memory, asleep or spinning") {
  for (const auto spin : {0us, 50us, 20000000us}) {
    CAPTURE(spin.count());
    Peer peer({"honest"});
    Options options = options_for("shm:" + peer.socket());
    options.spin = spin;
    const auto source = make_policy_source(options);
    std::vector<float> action(2);
    REQUIRE(source->connect(20s) == Status::ok);
    const std::size_t before = allocations_of_this_thread();
    for (int i = 1; i <= 200; ++i) {
      const Answer answer = source->tick(observation.data(), i, action.data());
      REQUIRE(answer.status == Status::ok);
      CHECK(answer.stamp_ns == i);
    }
    CHECK(allocations_of_this_thread() == before);
    CHECK(action == expected);
  }
}

TEST_CASE("memory that is not what was said is not mapped, and the client is well afterwards") {
  for (const std::string behaviour :
       {"memory_unsealed", "memory_short", "memory_small", "memory_huge", "memory_last_seal",
        "memory_missing", "memory_pipe", "memory_directory", "memory_device", "memory_socket"}) {
    CAPTURE(behaviour);
    Peer peer({behaviour, "honest"});
    const auto source = make_policy_source(options_for("shm:" + peer.socket()));
    std::vector<float> action(2);
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
    INFO(source->message());
    CHECK(std::string(source->message()).find("shared memory: ") == 0);
    tick_until(*source, Status::ok, observation, action);
  }
}

TEST_CASE("a client that is short of file descriptors for a moment is well afterwards") {
  Peer peer({"honest"});
  const auto source = make_policy_source(options_for("shm:" + peer.socket()));
  std::vector<float> action(2);
  Answer answer;
  {
    // Nothing is checked in here: the sanitizer of undefined behaviour needs descriptors for that.
    const FewDescriptors one_left(1);
    answer = source->tick(observation.data(), 0, action.data());
  }
  CHECK(answer.status == Status::disconnected);
  INFO(source->message());
  CHECK(std::string(source->message()).find("too many open files") != std::string::npos);
  tick_until(*source, Status::ok, observation, action);
  CHECK(action == expected);
}

TEST_CASE("no wrong answer in memory is believed, and the client is well afterwards") {
  for (const std::string behaviour :
       {"memory_jump", "memory_ending", "memory_gone", "endless_answer", "short", "other_sequence",
        "other_stamp", "other_rows", "not_finite", "garbage_answer"}) {
    check_disbelief("shm", behaviour);
  }
}

TEST_CASE("what a service says before it ends is heard beside the memory") {
  Peer peer({"memory_ending", "honest"});
  const auto source = make_policy_source(options_for("shm:" + peer.socket()));
  std::vector<float> action(2);
  CHECK(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
  INFO(source->message());
  CHECK(std::string(source->message()).find("ENDING: the service is stopping") != std::string::npos);
}

TEST_CASE("a client that only spins notices that the service is gone") {
  Peer peer({"memory_gone", "honest"});
  Options options = options_for("shm:" + peer.socket());
  options.timeout = 2ms;
  options.spin = 2ms;
  const auto source = make_policy_source(options);
  std::vector<float> action(2);
  REQUIRE(source->connect(20s) == Status::ok);
  tick_until(*source, Status::disconnected, observation, action);
  tick_until(*source, Status::ok, observation, action);
}

TEST_SUITE_END();
