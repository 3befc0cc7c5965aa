// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_client/observation_buffer.hpp"

#include <algorithm>
#include <cstdio>
#include <stdexcept>

namespace policy_client {

/// A ring of samples, each with a version that shows its reader whether it was overwritten.
///
/// Sample n (from 0) is in slot n % capacity; the slot's version is 2n + 1 while it is written
/// and 2n + 2 afterwards. Stamp and values are individually atomic: a lapped reader sees a mixture,
/// and the version that reveals it, but never a data race. Values are stored with release and
/// loaded with acquire order, so that a reader of a new value also sees its version.
class ObservationBuffer::Stream {
 public:
  explicit Stream(StreamOptions options)
      : options_(std::move(options)),
        slots_(new Slot[options_.capacity]),
        values_(new std::atomic<float>[options_.capacity * options_.width]),
        before_(options_.width),
        after_(options_.width) {}

  const StreamOptions& options() const noexcept { return options_; }

  bool write(std::int64_t stamp_ns, const float* values) noexcept {
    if (written_ > 0 && stamp_ns <= last_stamp_ns_) return false;
    Slot& slot = slots_[written_ % options_.capacity];
    std::atomic<float>* into = &values_[written_ % options_.capacity * options_.width];
    slot.version.store(2 * written_ + 1, std::memory_order_relaxed);
    slot.stamp_ns.store(stamp_ns, std::memory_order_release);
    for (std::size_t i = 0; i < options_.width; ++i) {
      into[i].store(values[i], std::memory_order_release);
    }
    slot.version.store(2 * written_ + 2, std::memory_order_release);
    published_.store(++written_, std::memory_order_release);
    last_stamp_ns_ = stamp_ns;
    return true;
  }

  Taken take(std::int64_t at_ns, float* into) noexcept {
    // If a thread is preempted while it reads, its samples may be overwritten by newer ones.
    Taken taken = look(at_ns, into);
    for (int again = 0; again < 2 && taken.fault == Taken::Fault::overrun; ++again) {
      taken = look(at_ns, into);
    }
    return taken;
  }

 private:
  struct Slot {
    std::atomic<std::uint64_t> version{0};
    std::atomic<std::int64_t> stamp_ns{0};
  };

  Taken look(std::int64_t at_ns, float* into) noexcept {
    const std::uint64_t count = published_.load(std::memory_order_acquire);
    const std::uint64_t oldest = count > options_.capacity ? count - options_.capacity : 0;
    bool has_after = false;
    std::int64_t after_ns = 0;
    for (std::uint64_t n = count; n-- > oldest;) {
      std::int64_t stamp_ns = 0;
      if (!read(n, stamp_ns, before_.data())) return fault(Taken::Fault::overrun, 0);
      if (stamp_ns > at_ns) {
        std::swap(before_, after_);
        after_ns = stamp_ns;
        has_after = true;
        continue;
      }
      if (at_ns - stamp_ns > options_.max_age.count()) {
        return fault(Taken::Fault::too_old, at_ns - stamp_ns);
      }
      const bool between = has_after && options_.between == Between::linear;
      const float share = between ? static_cast<float>(static_cast<double>(at_ns - stamp_ns) /
                                                       static_cast<double>(after_ns - stamp_ns))
                                  : 0.0F;
      for (std::size_t i = 0; i < options_.width; ++i) {
        into[i] = between ? before_[i] + share * (after_[i] - before_[i]) : before_[i];
      }
      return {Taken::Fault::none, 0, at_ns - stamp_ns, stamp_ns};
    }
    // All kept samples were measured after that time.
    return fault(oldest > 0 ? Taken::Fault::overrun : Taken::Fault::empty, 0);
  }

  static Taken fault(Taken::Fault fault, std::int64_t age_ns) noexcept {
    return {fault, 0, age_ns, 0};
  }

  bool read(std::uint64_t n, std::int64_t& stamp_ns, float* values) const noexcept {
    const Slot& slot = slots_[n % options_.capacity];
    const std::atomic<float>* from = &values_[n % options_.capacity * options_.width];
    if (slot.version.load(std::memory_order_acquire) != 2 * n + 2) return false;
    stamp_ns = slot.stamp_ns.load(std::memory_order_acquire);
    for (std::size_t i = 0; i < options_.width; ++i) {
      values[i] = from[i].load(std::memory_order_acquire);
    }
    return slot.version.load(std::memory_order_relaxed) == 2 * n + 2;
  }

  const StreamOptions options_;
  const std::unique_ptr<Slot[]> slots_;
  const std::unique_ptr<std::atomic<float>[]> values_;
  // Written by the writer only, on a different cache line from the reader's.
  alignas(64) std::uint64_t written_ = 0;
  std::int64_t last_stamp_ns_ = 0;
  std::atomic<std::uint64_t> published_{0};
  alignas(64) std::vector<float> before_;
  std::vector<float> after_;
};

ObservationBuffer::ObservationBuffer() = default;
ObservationBuffer::~ObservationBuffer() = default;

std::size_t ObservationBuffer::add(StreamOptions options) {
  if (options.width == 0 || options.capacity < 2 || options.max_age.count() <= 0) {
    throw std::invalid_argument("stream '" + options.name +
                                "': expected a width, at least 2 samples and a maximum age");
  }
  width_ += options.width;
  streams_.push_back(std::make_unique<Stream>(std::move(options)));
  return streams_.size() - 1;
}

std::size_t ObservationBuffer::width() const noexcept { return width_; }

const StreamOptions& ObservationBuffer::options(std::size_t stream) const noexcept {
  return streams_[stream]->options();
}

bool ObservationBuffer::write(std::size_t stream, std::int64_t stamp_ns,
                              const float* values) noexcept {
  return streams_[stream]->write(stamp_ns, values);
}

Taken ObservationBuffer::take(std::int64_t at_ns, float* observation) noexcept {
  Taken all;
  all.stamp_ns = at_ns;
  for (std::size_t i = 0; i < streams_.size(); ++i) {
    const Taken one = streams_[i]->take(at_ns, observation);
    observation += streams_[i]->options().width;
    if (!all) continue;  // The first fault is reported; the other streams are still filled.
    if (!one) {
      all = one;
      all.stream = i;
      continue;
    }
    all.age_ns = std::max(all.age_ns, one.age_ns);
    all.stamp_ns = std::min(all.stamp_ns, one.stamp_ns);
  }
  return all;
}

std::string describe(const ObservationBuffer& buffer, const Taken& taken) {
  if (taken) return "complete";
  const StreamOptions& stream = buffer.options(taken.stream);
  switch (taken.fault) {
    case Taken::Fault::empty: return stream.name + ": no sample yet";
    case Taken::Fault::overrun:
      return stream.name + ": more samples arrived than the " + std::to_string(stream.capacity) +
             " that are kept";
    default: break;
  }
  char text[96];
  std::snprintf(text, sizeof(text), ": newest sample is %.1f ms old, at most %.1f ms allowed",
                static_cast<double>(taken.age_ns) / 1e6,
                static_cast<double>(stream.max_age.count()) / 1e6);
  return stream.name + text;
}

}  // namespace policy_client
