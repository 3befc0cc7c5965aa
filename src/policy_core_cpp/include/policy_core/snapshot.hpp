// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <initializer_list>
#include <optional>
#include <type_traits>
#include <utility>
#include <vector>

#include "policy_core/guard.hpp"
#include "policy_core/input.hpp"
#include "policy_core/joint_policy.hpp"
#include "policy_core/policy_set.hpp"
#include "policy_core/takeover.hpp"

namespace policy_core {

/// Writes or reads a controller's state as plain bytes, fast enough for a tick. Another controller
/// with the same plan in the same process can read it.
template <bool kReads>
class Snapshot {
 public:
  /// Memory, and how much of it is used. If `used` exceeds `size`, there was not enough memory, and
  /// the bytes are invalid. Without `data`, `used` becomes the largest number ever needed.
  struct Bytes {
    std::conditional_t<kReads, const std::uint8_t, std::uint8_t>* data;
    std::size_t size, used = 0;
  };

  explicit Snapshot(Bytes& bytes) : bytes_(&bytes) {}
  bool restores() const { return kReads; }
  bool is_whole() const { return true; }

  template <class T>
  void value(const char*, T& value) {
    raw(&value, sizeof value);
  }
  void vector(const char*, Vector3& v) { raw(v.data(), sizeof v); }
  void value(const char*, Time& value) { optional(value); }
  void value(const char*, std::optional<std::pair<std::int64_t, std::int64_t>>& value) {
    optional(value);
  }
  void array(const char*, Span span, std::initializer_list<std::size_t> = {}) {
    raw(span.data, span.size * sizeof(double));
  }
  void rows(const char*, Numbers& values, std::size_t rows, std::size_t columns) {
    raw(values.data(), (counts() ? values.size() : rows * columns) * sizeof(double));
  }
  void integers(const char*, Integers& values, std::size_t& count) {
    raw(values.data(), counted(count, values.size()) * sizeof(std::int64_t));
  }
  void reason(const char*, Reason& reason) { raw(&reason, sizeof reason); }
  void reason(const char*, std::optional<Reason>& reason) { optional(reason); }
  void refusal(const char*, Refusal& r) {
    value("", r.code);
    value("", r.to);
    value("", r.other);
    value("", r.member);
    value("", r.is_given_up);
    value("", r.state);
    value("", r.failure);
    raw(r.off.data(), r.off.size() * sizeof(double));
    raw(r.speed.data(), r.speed.size() * sizeof(double));
    value("", r.tilt);
    value("", r.body_rate);
    value("", r.phase);
    value("", r.command);
    value("", r.ticks);
  }
  void state(const char*, std::int64_t& state) { value("", state); }
  void request(const char*, std::optional<PolicySet::Request>& request) { optional(request); }
  void text(const char*, std::int64_t& text) { value("", text); }
  void step(const char*, Input::Stepped& whose, std::int64_t& step_ns) {
    value("", whose);
    value("", step_ns);
  }
  void stamps(const char*, Input::Refused& stamps) { value("", stamps); }
  void rules(const char*, Rules& rules) { value("", rules); }
  void estop(const char*, std::atomic<std::int64_t>& text) { atomic(text); }
  void driver(const char*, std::atomic<std::int64_t>& text) { atomic(text); }
  void driver(const char*, PersonTakeover::Driver& driver) { value("", driver); }
  void counters(const char*, std::array<std::int64_t, kRules>& counters) { value("", counters); }
  template <class Motion>
  void motion(const char*, Motion& motion) {
    value("", motion);
  }
  template <class T>
  void plain(const char*, T& value) {
    all(value);
  }
  void some(const char*, Numbers& values, std::size_t& size) {
    raw(values.data(), counted(size, values.size()) * sizeof(double));
  }
  void some(const char*, ChunkRequest& request, bool& is_there) {
    value("", is_there);
    if (is_there || counts()) all(request);
  }
  template <class T>
  void some(const char*, std::optional<T>& found) {
    optional(found);
  }
  void steps(Ring<ObservationSync::Step>& steps, ObservationSync::Step& newest, bool& has_newest) {
    all(steps);
    value("", has_newest);
    all(newest);
  }
  void tensor(const Tensor& tensor) {
    raw(tensor.raw().data, tensor.raw().count *
                               (tensor.raw().dtype == POLICY_CORE_FLOAT32 ? sizeof(float)
                                                                          : sizeof(double)));
  }
  template <class T>
  void part(const char*, T& part) {
    part.visit(*this);
  }
  template <class T>
  void part(std::size_t, T& part) {
    part.visit(*this);
  }
  template <class T>
  void optional_part(const char*, std::optional<T>& part) {
    if (part) part->visit(*this);
  }
  Snapshot mapping(const char*) { return *this; }
  Snapshot sequence(const char*, std::size_t) { return *this; }

 private:
  bool counts() const noexcept { return !bytes_->data; }
  /// Writes or reads the number of values, up to `capacity`; returns it, or `capacity` if counting.
  std::size_t counted(std::size_t& count, std::size_t capacity) {
    value("", count);
    return counts() ? capacity : count;
  }
  template <class T>
  void all(T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    raw(&value, sizeof value);
  }
  void all(Numbers& values) { raw(values.data(), values.size() * sizeof(double)); }
  template <class A, class B>
  void all(std::pair<A, B>& pair) {
    all(pair.first);
    all(pair.second);
  }
  void all(Rows& rows) {
    raw(rows.values.data(), counted(rows.count, rows.capacity()) * rows.columns * sizeof(double));
  }
  void all(Recent& recent) {
    all(recent.time_ns);
    all(recent.frame);
    all(recent.values);
  }
  void all(FrameBuffer::Content& content) {
    raw(content.bytes.data(), counted(content.size, content.bytes.size()));
  }
  void all(SensedValues& sensed) {
    all(sensed.time_ns);
    raw(sensed.frames.data(), sensed.frames.size() * sizeof(std::int64_t));
    all(sensed.fields);
  }
  void all(ObservationSync::Step& step) {
    all(step.tick_ns);
    all(step.sensed);
  }
  void all(ChunkRequest& request) {
    all(request.sensed);
    for (auto& each : request.earlier) all(each);
    all(request.generation);
    all(request.asked_ns);
    all(request.planned);
    all(request.delay);
  }
  template <class T>
  void all(Ring<T>& ring) {
    auto count = ring.size();
    if (counts()) {
      // All values have the same memory as the first.
      const auto used = bytes_->used;
      if (ring.capacity()) all(ring.like());
      bytes_->used = used + ring.capacity() * (bytes_->used - used) + sizeof count;
      return;
    }
    value("", count);
    if (kReads) ring.clear();
    for (std::size_t i = 0; i < count; ++i) all(kReads ? ring.push() : ring[i]);
  }
  void raw(void* value, std::size_t size) {
    if (size > 0 && bytes_->used + size <= bytes_->size) {
      if constexpr (kReads) {
        std::memcpy(value, bytes_->data + bytes_->used, size);
      } else {
        std::memcpy(bytes_->data + bytes_->used, value, size);
      }
    }
    bytes_->used += size;
  }
  template <class T>
  void optional(std::optional<T>& found) {
    bool is_there = found.has_value();
    value("", is_there);
    if (counts()) {
      bytes_->used += sizeof *found;
    } else if (!is_there) {
      found.reset();
    } else {
      if (!found) found.emplace();
      raw(&*found, sizeof *found);
    }
  }
  void atomic(std::atomic<std::int64_t>& found) {
    auto copy = found.load();
    value("", copy);
    if (kReads) found.store(copy);
  }

  Bytes* bytes_;
};

}  // namespace policy_core
