// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <signal.h>

#include <limits>
#include <memory>

#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

const std::vector<float> observation{1.0F, 2.0F, 4.0F};
const std::vector<float> expected{7.0F, 4.0F};

/// A model, made once for all tests.
template <int version = 1>
std::string model() {
  static const TemporaryFolder folder;
  static const std::string file = folder.file("model.onnx");
  static const bool made = Child({SERVICE_PYTHON, TEST_FOLDER "/service_model.py", file,
                                  std::to_string(version)})
                               .wait() == 0;
  REQUIRE(made);
  return file;
}

/// `policy_inference serve` with a framed socket.
class Service {
 public:
  Service() { start(); }
  ~Service() noexcept(false) {
    if (child_->runs()) CHECK(child_->end(SIGTERM) == 0);
  }

  std::string socket() const { return folder_.file("framed.sock"); }
  void kill() { CHECK(child_->end(SIGKILL) == SIGKILL); }
  void start(const std::string& file = model()) {
    child_ = std::make_unique<Child>(std::vector<std::string>{
        SERVICE_PYTHON, "-m", "policy_inference.commands.main", "serve", "--model", file,
        "--batch", "4", "--framed-socket", socket(), "--log-level", "error"});
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<Child> child_;
};

/// Connects and checks some answers.
void check_answers(const Options& options) {
  CAPTURE(options.source);
  const auto source = make_policy_source(options);
  const Status status = source->connect(60s);
  INFO(source->message());
  REQUIRE(status == Status::ok);
  CHECK(source->info().obs_dim == 3);
  std::vector<float> action(2);
  for (int i = 1; i <= 20; ++i) {
    const std::vector<float> changed{1.0F, 2.0F, static_cast<float>(i)};
    const Answer answer = source->tick(changed.data(), i, action.data());
    REQUIRE(answer.status == Status::ok);
    CHECK(answer.stamp_ns == i);
    CHECK(answer.answered_ns > 0);
    CHECK(action == std::vector<float>{3.0F + static_cast<float>(i), static_cast<float>(i)});
  }
}

void check_refusal(const Options& options, const std::string& reason) {
  const auto source = make_policy_source(options);
  CHECK(source->connect(60s) == Status::refused);
  INFO(source->message());
  CHECK(std::string(source->message()).find(reason) != std::string::npos);
}

}  // namespace

TEST_SUITE_BEGIN("service");

TEST_CASE("the service answers over a Unix socket and shared memory, and refuses others") {
  Service service;
  check_answers(options_for("unix:" + service.socket()));
  check_answers(options_for("shm:" + service.socket()));
  Options spinning = options_for("shm:" + service.socket());
  spinning.spin = 200us;
  check_answers(spinning);

  SUBCASE("several robots are one inference") {
    Options options = options_for("shm:" + service.socket());
    options.rows = 4;
    const auto source = make_policy_source(options);
    REQUIRE(source->connect(20s) == Status::ok);
    const std::vector<float> four{1, 2, 4, 0, 0, 0, 5, 5, 5, -1, -2, -3};
    std::vector<float> action(8);
    REQUIRE(source->tick(four.data(), 0, action.data()).status == Status::ok);
    CHECK(action == std::vector<float>{7, 4, 0, 0, 15, 5, -6, -3});
  }
  SUBCASE("an observation that is not finite is an error of that observation only") {
    for (const std::string kind : {"unix:", "shm:"}) {
      const auto source = make_policy_source(options_for(kind + service.socket()));
      REQUIRE(source->connect(20s) == Status::ok);
      std::vector<float> action(2);
      const std::vector<float> bad{0.0F, std::numeric_limits<float>::quiet_NaN(), 0.0F};
      CHECK(source->tick(bad.data(), 0, action.data()).status == Status::error);
      CHECK(std::string(source->message()).find("OBSERVATION_NOT_FINITE") != std::string::npos);
      CHECK(source->tick(observation.data(), 0, action.data()).status == Status::ok);
      CHECK(action == expected);
    }
  }
  SUBCASE("a client of another policy, of other sizes or of too many robots is refused") {
    Options options = options_for("unix:" + service.socket());
    options.policy_sha256 = std::string(64, 'a');
    check_refusal(options, "OTHER_POLICY");
    options = options_for("unix:" + service.socket());
    options.act_dim = 3;
    check_refusal(options, "OTHER_POLICY");
    options = options_for("unix:" + service.socket());
    options.rows = 1000;
    check_refusal(options, "NOT_OFFERED");
    options = options_for("unix:" + service.socket());
    options.scaling = Scaling::physical;
    check_refusal(options, "NOT_OFFERED");
  }
  SUBCASE("the hash that the service states is one it takes") {
    const auto source = make_policy_source(options_for("unix:" + service.socket()));
    REQUIRE(source->connect(20s) == Status::ok);
    Options options = options_for("unix:" + service.socket());
    options.policy_sha256 = source->info().sha256;
    check_answers(options);
  }
}

TEST_CASE("a service that was killed and started again is found by itself") {
  Service service;
  for (const std::string kind : {"unix:", "shm:"}) {
    const auto source = make_policy_source(options_for(kind + service.socket()));
    REQUIRE(source->connect(60s) == Status::ok);
    std::vector<float> action(2);
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::ok);
    service.kill();
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
    service.start();
    tick_until(*source, Status::ok, observation, action);
    CHECK(action == expected);
  }
}

TEST_CASE("a service that comes back with another policy is refused") {
  Service service;
  const auto source = make_policy_source(options_for("unix:" + service.socket()));
  REQUIRE(source->connect(60s) == Status::ok);
  std::vector<float> action(2);
  CHECK(source->tick(observation.data(), 0, action.data()).status == Status::ok);
  service.kill();
  service.start(model<2>());
  tick_until(*source, Status::refused, observation, action);
  CHECK(std::string(source->message()).find("OTHER_POLICY") != std::string::npos);
}

TEST_SUITE_END();
