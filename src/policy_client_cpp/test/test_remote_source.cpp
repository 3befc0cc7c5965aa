// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <signal.h>
#include <unistd.h>

#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

const std::vector<float> observation{1.0F, 2.0F, 4.0F};
const std::vector<float> expected{7.0F, 3.0F};

std::string message_of(const PolicySource& source) { return source.message(); }

bool says(const PolicySource& source, const std::string& part) {
  INFO(source.message());
  return message_of(source).find(part) != std::string::npos;
}

}  // namespace

TEST_SUITE_BEGIN("remote_source");

TEST_CASE("the first tick connects, and each is answered with its stamp") {
  Peer peer({"honest"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  std::vector<float> action(2);
  for (int i = 1; i <= 50; ++i) {
    const Answer answer = source->tick(observation.data(), i, action.data());
    REQUIRE(answer.status == Status::ok);
    CHECK(answer.stamp_ns == i);
    CHECK(answer.answered_ns == 7);
    CHECK(action == expected);
  }
}

TEST_CASE("what the service says of its policy can be asked for") {
  Peer peer({"honest"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  CHECK(source->info().name.empty());
  REQUIRE(source->connect(20s) == Status::ok);
  const PolicyInfo info = source->info();
  CHECK(info.name == "walk");
  CHECK(info.version == "1.2.3");
  CHECK(info.joints == std::vector<std::string>{"hip", "knee"});
  CHECK(info.sha256.substr(0, 8) == "00010203");
}

TEST_CASE("several robots are answered row by row") {
  Peer peer({"honest"});
  Options options = options_for("unix:" + peer.socket());
  options.rows = 3;
  const auto source = make_policy_source(options);
  std::vector<float> action(6);
  REQUIRE(source->connect(20s) == Status::ok);
  const std::vector<float> three{1, 2, 4, 10, 20, 40, 0, 0, 1};
  CHECK(source->tick(three.data(), 0, action.data()).status == Status::ok);
  CHECK(action == std::vector<float>{7, 3, 70, 3, 1, 3});
}

TEST_CASE("observations that do not fit into the socket at once arrive whole") {
  Peer peer({"honest"});
  Options options = options_for("unix:" + peer.socket());
  options.rows = 100000;
  const auto source = make_policy_source(options);
  const std::vector<float> many(300000, 1.0F);
  std::vector<float> action(200000);
  REQUIRE(source->tick(many.data(), 0, action.data()).status == Status::ok);
  CHECK(action.front() == 3.0F);
  CHECK(action[199998] == 3.0F);
}

TEST_CASE("an answer that comes byte by byte is put together") {
  Peer peer({"bytewise"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  std::vector<float> action(2);
  for (int i = 0; i < 3; ++i) {
    REQUIRE(source->tick(observation.data(), 0, action.data()).status == Status::ok);
    CHECK(action == expected);
  }
}

TEST_CASE("reset is said with the next observation, and with that one only") {
  Peer peer({"flags"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  std::vector<float> action(2);
  tick_until(*source, Status::ok, observation, action);
  CHECK(action[0] == 0.0F);
  source->reset();
  tick_until(*source, Status::ok, observation, action);
  CHECK(action[0] == 1.0F);
  tick_until(*source, Status::ok, observation, action);
  CHECK(action[0] == 0.0F);
}

TEST_CASE("a late answer is dropped, or delivered as stale with its stamp") {
  for (const bool deliver_stale : {false, true}) {
    Peer peer({"held"});
    Options options = options_for("unix:" + peer.socket());
    options.timeout = 2ms;
    options.deliver_stale = deliver_stale;
    const auto source = make_policy_source(options);
    REQUIRE(source->connect(20s) == Status::ok);
    std::vector<float> action{-1.0F, -1.0F};
    const std::vector<float> other{0.0F, 0.0F, 1.0F};
    CHECK(source->tick(observation.data(), 11, action.data()).status == Status::late);
    CHECK(source->tick(other.data(), 12, action.data()).status == Status::pending);
    CHECK(source->tick(other.data(), 13, action.data()).status == Status::pending);
    CHECK(action[0] == -1.0F);
    REQUIRE(peer.process().read_line() == "held");
    peer.process().write_line("answer");
    // The tick that meets the answer sends its own observation, which is held as well.
    Answer answer;
    std::int64_t stamp = 13;
    do {
      answer = source->tick(other.data(), ++stamp, action.data());
    } while (answer.status == Status::pending);
    if (deliver_stale) {
      CHECK(answer.status == Status::stale);
      CHECK(answer.stamp_ns == 11);
      CHECK(action == expected);
    } else {
      CHECK(answer.status == Status::late);
      CHECK(action[0] == -1.0F);
    }
    peer.process().write_line("answer");
    peer.process().write_line("answer");
  }
}

TEST_CASE("a service that owes an answer for too long is given up") {
  Peer peer({"held", "honest"});
  Options options = options_for("unix:" + peer.socket());
  options.timeout = 1ms;
  options.answer_limit = 50ms;
  const auto source = make_policy_source(options);
  REQUIRE(source->connect(20s) == Status::ok);
  std::vector<float> action(2);
  tick_until(*source, Status::disconnected, observation, action);
  CHECK(says(*source, "no answer within 50 ms"));
  peer.process().write_line("answer");
  tick_until(*source, Status::ok, observation, action);
  CHECK(action == expected);
}

TEST_CASE("no wrong greeting is believed, and the client is well afterwards") {
  for (const std::string behaviour : {"garbage", "other_version", "endless", "short_welcome",
                                "overrun_welcome", "many_joints", "long_welcome", "action_first",
                                "full", "unknown_code"}) {
    CAPTURE(behaviour);
    Peer peer({behaviour, "honest"});
    const auto source = make_policy_source(options_for("unix:" + peer.socket()));
    std::vector<float> action(2);
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
    CHECK_FALSE(message_of(*source).empty());
    tick_until(*source, Status::ok, observation, action);
    CHECK(action == expected);
  }
}

TEST_CASE("no wrong answer is believed, and the client is well afterwards") {
  for (const std::string behaviour : {"short", "long", "endless_answer", "no_payload", "other_sequence",
                                "other_stamp", "other_rows", "other_type", "not_finite", "garbage_answer", "half",
                                "ending", "bad_frame", "unasked_error", "unasked"}) {
    check_disbelief("unix", behaviour);
  }
}

TEST_CASE("a second answer to one request ends the connection") {
  Peer peer({"twice", "honest"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  std::vector<float> action(2);
  CHECK(source->tick(observation.data(), 0, action.data()).status == Status::ok);
  tick_until(*source, Status::disconnected, observation, action);
  CHECK(says(*source, "expected the action to observation"));
  tick_until(*source, Status::ok, observation, action);
}

TEST_CASE("an observation without an answer is an error of that observation only") {
  Peer peer({"failed"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  std::vector<float> action{-1.0F, -1.0F};
  for (int i = 0; i < 3; ++i) {
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::error);
    CHECK(says(*source, "INFERENCE_FAILED: out of memory"));
  }
  CHECK(action[0] == -1.0F);
}

TEST_CASE("a text that is longer than any message is cut off") {
  Peer peer({"long_error"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  std::vector<float> action(2);
  CHECK(source->tick(observation.data(), 0, action.data()).status == Status::error);
  CHECK(message_of(*source).size() < 512);
}

TEST_CASE("a refusal is final, names its reason, and ends with retry") {
  Peer peer({"other_policy", "honest"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  std::vector<float> action(2);
  for (int i = 0; i < 5; ++i) {
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::refused);
  }
  CHECK(says(*source, "OTHER_POLICY: policy_sha256: expected ab,  [31mfound  31mcd "));
  CHECK(source->connect(1ms) == Status::refused);
  source->retry();
  CHECK(source->tick(observation.data(), 0, action.data()).status == Status::ok);
}

TEST_CASE("a service of other sizes is refused") {
  for (const std::string behaviour : {"other_dim", "few_rows", "many_rows"}) {
    CAPTURE(behaviour);
    Peer peer({behaviour});
    const auto source = make_policy_source(options_for("unix:" + peer.socket()));
    CHECK(source->connect(20s) == Status::refused);
    CHECK(says(*source, "expected 3 observations, 2 actions and 1 rows, found"));
  }
}

TEST_CASE("a service that does not greet is given up and tried again") {
  Peer peer({"silent", "honest"});
  Options options = options_for("unix:" + peer.socket());
  options.answer_limit = 20ms;
  options.timeout = 2ms;
  const auto source = make_policy_source(options);
  std::vector<float> action(2);
  while (!says(*source, "no greeting within 20 ms")) {
    REQUIRE(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
  }
  tick_until(*source, Status::ok, observation, action);
}

TEST_CASE("a service that is not there yet is found when it comes, also after it went") {
  TemporaryFolder folder;
  const std::string socket = folder.file("late.sock");
  const auto source = make_policy_source(options_for("unix:" + socket));
  std::vector<float> action(2);
  CHECK(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
  CHECK(says(*source, "cannot connect: No such file or directory"));
  for (int i = 0; i < 2; ++i) {
    Child child({TEST_PYTHON, TEST_FOLDER "/peer.py", socket, "honest"});
    tick_until(*source, Status::ok, observation, action);
    CHECK(action == expected);
    child.end(SIGKILL);
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
    REQUIRE(::unlink(socket.c_str()) == 0);
  }
}

TEST_CASE("a connected client allocates nothing in its ticks") {
  Peer peer({"honest"});
  const auto source = make_policy_source(options_for("unix:" + peer.socket()));
  REQUIRE(source->connect(20s) == Status::ok);
  std::vector<float> action(2);
  const std::size_t before = allocations_of_this_thread();
  for (int i = 0; i < 100; ++i) source->tick(observation.data(), i, action.data());
  CHECK(allocations_of_this_thread() == before);
}

TEST_SUITE_END();
