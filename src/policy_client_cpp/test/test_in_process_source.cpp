// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <future>
#include <limits>
#include <stdexcept>

#include "in_process_source.hpp"
#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

/// Answers (sum, first value), when it is let.
class SumModel : public Model {
 public:
  bool run(const float* observation, float* action, Message& message) noexcept override {
    if (gate_ != nullptr) gate_->wait();
    action[0] = observation[0] + observation[1] + observation[2];
    action[1] = observation[0];
    if (observation[0] == 13.0F) message.set("sum: does not like 13");
    if (observation[0] == 14.0F) action[1] = std::numeric_limits<float>::infinity();
    return observation[0] != 13.0F;
  }
  void hold(std::shared_future<void>& gate) { gate_ = &gate; }
  void tell_end(std::promise<void> end) { end_ = std::move(end); }
  ~SumModel() override {
    if (gate_ != nullptr) end_.set_value();
  }

 private:
  std::promise<void> end_;
  std::shared_future<void>* gate_ = nullptr;
};

Options options() { return options_for("onnx:sum"); }

}  // namespace

TEST_SUITE_BEGIN("in_process_source");

TEST_CASE("a model answers the observation, with its stamp") {
  InProcessSource source(std::make_unique<SumModel>(), options());
  std::vector<float> action(2);
  for (int i = 0; i < 100; ++i) {
    const float observation[] = {static_cast<float>(i + 20), 1.0F, 2.0F};
    const Answer answer = source.tick(observation, i, action.data());
    REQUIRE(answer.status == Status::ok);
    CHECK(answer.stamp_ns == i);
    CHECK(action[0] == observation[0] + 3.0F);
  }
}

TEST_CASE("observations are normalised row by row") {
  Options given = options();
  given.rows = 1;
  given.mean = {1.0F, 2.0F, 3.0F};
  given.divisor = {2.0F, 4.0F, 8.0F};
  InProcessSource source(std::make_unique<SumModel>(), given);
  const float observation[] = {3.0F, 6.0F, 11.0F};
  std::vector<float> action(2);
  REQUIRE(source.tick(observation, 0, action.data()).status == Status::ok);
  CHECK(action == std::vector<float>{3.0F, 1.0F});
}

TEST_CASE("normalisation that does not fit is refused") {
  Options given = options();
  given.mean = {1.0F};
  CHECK_THROWS_WITH_AS(InProcessSource(std::make_unique<SumModel>(), given),
                       "mean: expected 3 values, found 1", std::invalid_argument);
  given.mean = {};
  given.divisor = {1.0F, 0.0F, 1.0F};
  CHECK_THROWS_WITH_AS(InProcessSource(std::make_unique<SumModel>(), given),
                       "divisor: expected values above 0", std::invalid_argument);
}

TEST_CASE("what only a service can do is refused, not ignored") {
  const auto refusal = [](const Options& given) -> std::string {
    try {
      InProcessSource(std::make_unique<SumModel>(), given);
    } catch (const std::invalid_argument& error) {
      return error.what();
    }
    return "nothing was refused";
  };
  Options given = options();
  given.scaling = Scaling::physical;
  CHECK(refusal(given).find("scaling: ") == 0);
  given = options();
  given.answer = AnswerKind::target;
  CHECK(refusal(given).find("answer: ") == 0);
  given = options();
  given.policy_sha256 = std::string(64, '1');
  CHECK(refusal(given).find("policy_sha256: ") == 0);
  given = options();
  given.scaling = Scaling::normalised;
  given.mean = {0.0F, 0.0F, 0.0F};
  CHECK(refusal(given).find("mean, divisor: ") == 0);
  given.mean = {};
  CHECK(refusal(given) == "nothing was refused");
}

TEST_CASE("a model that never returns is no connection, and can be left behind") {
  static std::promise<void> gate;  // Both outlive the source: its thread is still at them.
  static std::shared_future<void> opened = gate.get_future().share();
  std::promise<void> left;
  std::future<void> has_left = left.get_future();
  auto model = std::make_unique<SumModel>();
  model->hold(opened);
  model->tell_end(std::move(left));
  {
    Options given = options();
    given.timeout = 1ms;
    given.answer_limit = 20ms;
    InProcessSource source(std::move(model), given);
    const std::vector<float> observation{1.0F, 1.0F, 1.0F};
    std::vector<float> action(2);
    CHECK(source.tick(observation.data(), 1, action.data()).status == Status::late);
    tick_until(source, Status::disconnected, observation, action);
    CHECK(std::string(source.message()) == "onnx:sum: no answer within 20 ms");
  }
  gate.set_value();
  CHECK(has_left.wait_for(20s) == std::future_status::ready);
}

TEST_CASE("a slow model does not hold the tick, and its answer comes as stale or not at all") {
  for (const bool deliver_stale : {false, true}) {
    Options given = options();
    given.timeout = 1ms;
    given.spin = 1h;  // It ends with the timeout.
    given.deliver_stale = deliver_stale;
    std::promise<void> gate;
    std::shared_future<void> opened = gate.get_future().share();
    auto model = std::make_unique<SumModel>();
    model->hold(opened);
    InProcessSource source(std::move(model), given);
    std::vector<float> action{-1.0F, -1.0F};
    const float first[] = {1.0F, 1.0F, 1.0F};
    const float second[] = {2.0F, 2.0F, 2.0F};
    CHECK(source.tick(first, 11, action.data()).status == Status::late);
    CHECK(source.tick(second, 12, action.data()).status == Status::pending);
    CHECK(action[0] == -1.0F);
    gate.set_value();
    Answer answer{Status::pending, 0, 0};
    bool was_stale = false;
    while (answer.status != Status::ok) {
      answer = source.tick(second, 13, action.data());
      if (answer.status == Status::stale && !was_stale) {
        was_stale = true;
        CHECK(answer.stamp_ns == 11);
        CHECK(action[0] == 3.0F);
      }
    }
    CHECK(answer.stamp_ns == 13);
    CHECK(action[0] == 6.0F);
    if (!deliver_stale) CHECK_FALSE(was_stale);
  }
}

TEST_CASE("a model that fails is an error of that observation only") {
  InProcessSource source(std::make_unique<SumModel>(), options());
  std::vector<float> action{-1.0F, -1.0F};
  const float bad[] = {13.0F, 0.0F, 0.0F};
  const float infinite[] = {14.0F, 0.0F, 0.0F};
  const float good[] = {1.0F, 0.0F, 0.0F};
  CHECK(source.tick(bad, 0, action.data()).status == Status::error);
  CHECK(std::string(source.message()) == "sum: does not like 13");
  CHECK(source.tick(infinite, 0, action.data()).status == Status::error);
  CHECK(std::string(source.message()) == "onnx:sum: the action is not finite");
  CHECK(action[0] == -1.0F);
  CHECK(source.tick(good, 0, action.data()).status == Status::ok);
}

TEST_CASE("an observation that is not finite never reaches the model") {
  InProcessSource source(std::make_unique<SumModel>(), options());
  std::vector<float> action(2);
  const float observation[] = {0.0F, std::numeric_limits<float>::quiet_NaN(), 0.0F};
  CHECK(source.tick(observation, 0, action.data()).status == Status::error);
  CHECK(std::string(source.message()) == "onnx:sum: value 1 of the observation is not finite");
}

TEST_CASE("an observation that normalisation makes infinite never reaches the model") {
  Options given = options();
  given.divisor = {1.0F, 1.0F, 1e-3F};
  InProcessSource source(std::make_unique<SumModel>(), given);
  std::vector<float> action{-1.0F, -1.0F};
  const float observation[] = {0.0F, 0.0F, 3e38F};
  CHECK(source.tick(observation, 0, action.data()).status == Status::error);
  CHECK(std::string(source.message()) ==
        "onnx:sum: value 2 of the observation is not finite once normalized");
  CHECK(action[0] == -1.0F);
}

TEST_CASE("a tick allocates nothing") {
  InProcessSource source(std::make_unique<SumModel>(), options());
  const float observation[] = {1.0F, 2.0F, 3.0F};
  std::vector<float> action(2);
  const std::size_t before = allocations_of_this_thread();
  for (int i = 0; i < 100; ++i) source.tick(observation, i, action.data());
  CHECK(allocations_of_this_thread() == before);
}

TEST_SUITE_END();
