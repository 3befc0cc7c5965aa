// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace policy_client {

/// How a stream's value between two samples is computed.
enum class Between {
  hold,    ///< The newest sample at or before that time. Use it for orientations.
  linear,  ///< Linear interpolation; the same as hold until a newer sample arrives.
};

/// Description of a stream: one sensor, or one command.
struct StreamOptions {
  std::string name;
  std::size_t width = 0;  ///< Number of values in a sample.
  std::chrono::nanoseconds max_age{0};
  Between between = Between::hold;
  std::size_t capacity = 64;  ///< Samples kept: rate × (control period + max_age), plus some.
};

/// The result of taking an observation.
struct Taken {
  enum class Fault { none, empty, too_old, overrun };
  Fault fault = Fault::none;
  std::size_t stream = 0;      ///< The first stream with a fault.
  std::int64_t age_ns = 0;     ///< Age of that stream's sample; without a fault, the largest age.
  std::int64_t stamp_ns = 0;   ///< Stamp of the oldest sample in the observation.
  explicit operator bool() const noexcept { return fault == Fault::none; }
};

/// Aligns sensors of different rates: each writes its samples as they arrive; the control thread
/// takes the values of all sensors for one time.
///
/// Add all streams first. Then one thread per stream may write, and one thread may take. None of
/// them waits for another, locks or allocates. All times are on one clock that the caller chooses.
class ObservationBuffer {
 public:
  ObservationBuffer();
  ~ObservationBuffer();

  /// Adds a stream, whose values follow those of the streams before it; returns its index.
  /// @throws std::invalid_argument for a width, capacity or age of 0.
  std::size_t add(StreamOptions options);

  /// Number of values in an observation: the sum of all streams' widths.
  std::size_t width() const noexcept;
  const StreamOptions& options(std::size_t stream) const noexcept;

  /// Adds a sample; ignores it and returns false unless its stamp is after the previous one's.
  bool write(std::size_t stream, std::int64_t stamp_ns, const float* values) noexcept;

  /// Writes all streams' values at time `at_ns` into an observation of width() values.
  ///
  /// Does not change the values of streams with a fault.
  Taken take(std::int64_t at_ns, float* observation) noexcept;

 private:
  class Stream;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::size_t width_ = 0;
};

/// Text for logs, such as "imu: newest sample is 35.0 ms old, at most 20.0 ms allowed"; allocates.
std::string describe(const ObservationBuffer& buffer, const Taken& taken);

}  // namespace policy_client
