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
  linear,  ///< Linear interpolation; before a newer sample arrives, like hold.
};

/// One sensor, or one command: the position of its values and their maximum age.
struct StreamOptions {
  std::string name;
  std::size_t width = 0;  ///< Values of one sample.
  std::chrono::nanoseconds max_age{0};
  Between between = Between::hold;
  std::size_t capacity = 64;  ///< Samples kept: rate × (period of control + max_age), plus some.
};

/// The result of taking an observation.
struct Taken {
  enum class Fault { none, empty, too_old, overrun };
  Fault fault = Fault::none;
  std::size_t stream = 0;      ///< The first stream with a fault.
  std::int64_t age_ns = 0;     ///< Of that stream's sample; without a fault, the largest.
  std::int64_t stamp_ns = 0;   ///< Of the oldest sample in the observation.
  explicit operator bool() const noexcept { return fault == Fault::none; }
};

/// Aligns sensors of different rates: each writes its samples when they arrive, the control thread
/// takes all of them for one time.
///
/// Add streams first. Then one thread per stream may write and one thread take; none of them waits
/// for another, locks or allocates. All times are of one clock, chosen by the caller.
class ObservationBuffer {
 public:
  ObservationBuffer();
  ~ObservationBuffer();

  /// Adds a stream; its values follow those of the previous streams. Returns its index.
  /// @throws std::invalid_argument for a width, capacity or age of 0.
  std::size_t add(StreamOptions options);

  /// Number of values in an observation: the widths of all streams.
  std::size_t width() const noexcept;
  const StreamOptions& options(std::size_t stream) const noexcept;

  /// Adds a sample; returns false and keeps nothing unless its stamp is after the previous one.
  bool write(std::size_t stream, std::int64_t stamp_ns, const float* values) noexcept;

  /// Writes the streams' values at a time into an observation of width() values.
  ///
  /// Values of streams with a fault are not changed.
  Taken take(std::int64_t at_ns, float* observation) noexcept;

 private:
  class Stream;
  std::vector<std::unique_ptr<Stream>> streams_;
  std::size_t width_ = 0;
};

/// "imu: newest sample is 35.0 ms old, at most 20.0 ms allowed", for logs; allocates.
std::string describe(const ObservationBuffer& buffer, const Taken& taken);

}  // namespace policy_client
