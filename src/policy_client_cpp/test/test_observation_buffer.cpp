// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <atomic>
#include <stdexcept>
#include <thread>
#include <vector>

#include "policy_client/observation_buffer.hpp"
#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

constexpr std::int64_t ms = 1'000'000;

StreamOptions stream(const std::string& name, std::size_t width, Between between = Between::hold,
                     std::size_t capacity = 8) {
  StreamOptions options;
  options.name = name;
  options.width = width;
  options.max_age = 10ms;
  options.between = between;
  options.capacity = capacity;
  return options;
}

}  // namespace

TEST_SUITE_BEGIN("observation_buffer");

TEST_CASE("each stream gives its newest sample at or before the time") {
  ObservationBuffer buffer;
  const auto imu = buffer.add(stream("imu", 2));
  const auto command = buffer.add(stream("command", 1));
  REQUIRE(buffer.width() == 3);
  for (int i = 1; i <= 5; ++i) {
    const float values[] = {static_cast<float>(i), static_cast<float>(-i)};
    CHECK(buffer.write(imu, i * 2 * ms, values));
  }
  const float wanted = 0.5F;
  buffer.write(command, 3 * ms, &wanted);

  std::vector<float> observation(3);
  const Taken taken = buffer.take(7 * ms, observation.data());
  REQUIRE(taken);
  CHECK(observation == std::vector<float>{3.0F, -3.0F, 0.5F});
  CHECK(taken.age_ns == 4 * ms);
  CHECK(taken.stamp_ns == 3 * ms);
  CHECK(describe(buffer, taken) == "complete");
}

TEST_CASE("values between two samples lie on the line between them") {
  ObservationBuffer buffer;
  const auto joints = buffer.add(stream("joints", 1, Between::linear));
  for (const float value : {0.0F, 4.0F, 20.0F}) {
    buffer.write(joints, static_cast<std::int64_t>(value) * ms, &value);
  }
  float value = -1.0F;
  REQUIRE(buffer.take(1 * ms, &value));
  CHECK(value == doctest::Approx(1.0));
  REQUIRE(buffer.take(8 * ms, &value));
  CHECK(value == doctest::Approx(8.0));
  REQUIRE(buffer.take(4 * ms, &value));
  CHECK(value == 4.0F);
}

TEST_CASE("after the newest sample, its value is held") {
  ObservationBuffer buffer;
  const auto joints = buffer.add(stream("joints", 1, Between::linear));
  for (const float value : {0.0F, 4.0F}) {
    buffer.write(joints, static_cast<std::int64_t>(value) * ms, &value);
  }
  float value = -1.0F;
  REQUIRE(buffer.take(9 * ms, &value));
  CHECK(value == 4.0F);
}

TEST_CASE("the stream that is too old is named, the others are filled") {
  ObservationBuffer buffer;
  buffer.add(stream("imu", 1));
  buffer.add(stream("joints", 1));
  const float value = 1.0F;
  buffer.write(0, 1 * ms, &value);
  buffer.write(1, 30 * ms, &value);
  std::vector<float> observation{-5.0F, -5.0F};
  const Taken taken = buffer.take(36 * ms, observation.data());
  CHECK_FALSE(taken);
  CHECK(taken.fault == Taken::Fault::too_old);
  CHECK(taken.stream == 0);
  CHECK(describe(buffer, taken) == "imu: newest sample is 35.0 ms old, at most 10.0 ms allowed");
  CHECK(observation == std::vector<float>{-5.0F, 1.0F});
}

TEST_CASE("a sample is young enough up to its greatest age") {
  ObservationBuffer buffer;
  buffer.add(stream("imu", 1));
  float value = 1.0F;
  buffer.write(0, 5 * ms, &value);
  CHECK(buffer.take(15 * ms, &value));
  CHECK_FALSE(buffer.take(15 * ms + 1, &value));
}

TEST_CASE("a stream without a sample, or only with later ones, is empty") {
  ObservationBuffer buffer;
  buffer.add(stream("imu", 1));
  float value = 1.0F;
  CHECK(buffer.take(5 * ms, &value).fault == Taken::Fault::empty);
  buffer.write(0, 6 * ms, &value);
  const Taken taken = buffer.take(5 * ms, &value);
  CHECK(taken.fault == Taken::Fault::empty);
  CHECK(describe(buffer, taken) == "imu: no sample yet");
}

TEST_CASE("a ring that is too short for the time asked says so") {
  ObservationBuffer buffer;
  buffer.add(stream("imu", 1, Between::hold, 4));
  float value = 1.0F;
  for (int i = 1; i <= 10; ++i) buffer.write(0, i * ms, &value);
  CHECK(buffer.take(7 * ms, &value));
  const Taken taken = buffer.take(6 * ms, &value);
  CHECK(taken.fault == Taken::Fault::overrun);
  CHECK(describe(buffer, taken) == "imu: more samples arrived than the 4 that are kept");
}

TEST_CASE("a sample that is not later than the last is not kept") {
  ObservationBuffer buffer;
  buffer.add(stream("imu", 1));
  float value = 1.0F;
  CHECK(buffer.write(0, 5 * ms, &value));
  value = 2.0F;
  CHECK_FALSE(buffer.write(0, 5 * ms, &value));
  CHECK_FALSE(buffer.write(0, 4 * ms, &value));
  REQUIRE(buffer.take(5 * ms, &value));
  CHECK(value == 1.0F);
}

TEST_CASE("a stream that could never give a value is refused") {
  ObservationBuffer buffer;
  CHECK_THROWS_AS(buffer.add(stream("imu", 0)), std::invalid_argument);
  CHECK_THROWS_AS(buffer.add(stream("imu", 1, Between::hold, 1)), std::invalid_argument);
  StreamOptions without_age = stream("imu", 1);
  without_age.max_age = 0ns;
  CHECK_THROWS_AS(buffer.add(without_age), std::invalid_argument);
}

TEST_CASE("neither writing nor taking allocates") {
  ObservationBuffer buffer;
  buffer.add(stream("joints", 12, Between::linear));
  std::vector<float> values(12);
  const std::size_t before = allocations_of_this_thread();
  for (int i = 1; i <= 100; ++i) {
    buffer.write(0, i * ms, values.data());
    buffer.take(i * ms, values.data());
  }
  CHECK(allocations_of_this_thread() == before);
}

TEST_CASE("what is taken while others write is never a mixture of samples") {
  constexpr std::size_t width = 24;
  constexpr int samples = 20000;
  ObservationBuffer buffer;
  StreamOptions options = stream("fast", width, Between::hold, 4);
  options.max_age = std::chrono::hours(1);
  const std::size_t streams[] = {buffer.add(options), buffer.add(options)};
  std::atomic<std::int64_t> newest[] = {{0}, {0}};
  std::vector<std::thread> writers;
  for (const std::size_t stream : streams) {
    writers.emplace_back([&, stream] {
      for (int n = 1; n <= samples; ++n) {
        const std::vector<float> values(width, static_cast<float>(n));
        buffer.write(stream, n, values.data());
        newest[stream] = n;
      }
    });
  }
  std::vector<float> observation(2 * width);
  std::size_t complete = 0;
  bool is_mixture = false;
  bool is_later = false;
  while (complete == 0 || newest[0] < samples || newest[1] < samples) {
    const std::int64_t at = std::min(newest[0].load(), newest[1].load());
    if (!buffer.take(at, observation.data())) continue;
    ++complete;
    for (std::size_t i = 0; i < observation.size(); ++i) {
      is_mixture = is_mixture || observation[i] != observation[i / width * width];
      is_later = is_later || observation[i] > static_cast<float>(at);
    }
  }
  for (auto& writer : writers) writer.join();
  CHECK_FALSE(is_mixture);
  CHECK_FALSE(is_later);
}

TEST_SUITE_END();
