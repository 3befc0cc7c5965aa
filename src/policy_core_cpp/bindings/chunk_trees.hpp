// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// A chunk policy's memory in the form of `ControlState.tree`: `tree_of` returns it, `take` replaces
// it. Its lists have no fixed length, so they are passed directly, not as words.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "policy_core/chunk_policy.hpp"

namespace policy_core {

namespace nb = nanobind;

inline nb::object array_of(const double* values, std::size_t rows, std::size_t columns) {
  auto numpy = nb::module_::import_("numpy");
  auto found = numpy.attr("empty")(nb::make_tuple(rows, columns));
  auto view = nb::cast<nb::ndarray<double, nb::c_contig>>(found);
  std::copy(values, values + rows * columns, view.data());
  return found;
}

/// Copies an array's values, row by row; returns their number. ValueError if `capacity` is less.
inline std::size_t copy_into(double* values, std::size_t capacity, nb::handle array) {
  auto numpy = nb::module_::import_("numpy");
  auto flat = nb::cast<nb::ndarray<double, nb::c_contig>>(
      numpy.attr("ascontiguousarray")(array, "float64"));
  if (flat.size() > capacity) throw nb::value_error("expected fewer values");
  std::copy(flat.data(), flat.data() + flat.size(), values);
  return flat.size();
}

inline nb::object tree_of(std::int64_t value) { return nb::cast(value); }
inline void take(std::int64_t& value, nb::handle saved) { value = nb::cast<std::int64_t>(saved); }

inline nb::object tree_of(const Numbers& values) {
  return array_of(values.data(), 1, values.size())[nb::int_(0)];
}
inline void take(Numbers& values, nb::handle saved) {
  if (copy_into(values.data(), values.size(), saved) != values.size()) {
    throw nb::value_error("an array of another size");
  }
}

inline nb::object tree_of(const Rows& rows) {
  if (rows.count == 0) return nb::none();
  return array_of(rows[0], rows.count, rows.columns);
}
inline void take(Rows& rows, nb::handle saved) {
  const auto values = saved.is_none() ? 0 : copy_into(rows[0], rows.values.size(), saved);
  if (values % rows.columns) throw nb::value_error("expected rows of another length");
  rows.count = values / rows.columns;
}

template <class A, class B>
nb::object tree_of(const std::pair<A, B>& pair) {
  return nb::make_tuple(tree_of(pair.first), tree_of(pair.second));
}
template <class A, class B>
void take(std::pair<A, B>& pair, nb::handle saved) {
  take(pair.first, saved[0]);
  take(pair.second, saved[1]);
}

inline nb::object tree_of(const Recent& recent) {
  const bool is_frame = recent.values.empty();
  return nb::make_tuple(recent.time_ns, is_frame ? nb::none() : tree_of(recent.values));
}
inline void take(Recent& recent, nb::handle saved) {
  recent.time_ns = nb::cast<std::int64_t>(saved[0]);
  recent.frame = 0;
  if (!recent.values.empty()) take(recent.values, saved[1]);
}

inline nb::object tree_of(const FrameBuffer::Content& content) {
  auto numpy = nb::module_::import_("numpy");
  const nb::bytes bytes(content.bytes.data(), content.size);
  return numpy.attr("frombuffer")(bytes, "uint8").attr("copy")();
}
inline void take(FrameBuffer::Content& content, nb::handle saved) {
  const auto bytes = nb::cast<nb::bytes>(saved.attr("astype")("uint8").attr("tobytes")());
  if (bytes.size() > content.bytes.size()) throw nb::value_error("expected fewer bytes");
  content.size = bytes.size();
  std::copy(bytes.c_str(), bytes.c_str() + bytes.size(), content.bytes.begin());
}

inline nb::dict tree_of(const SensedValues& sensed) {
  nb::dict fields, found;
  nb::list cameras;
  for (const auto& name : sensed.names->cameras) cameras.append(name.c_str());
  const double* values = sensed.fields.data();
  for (std::size_t i = 0; i < sensed.names->fields.size(); ++i) {
    const auto size = sensed.names->sizes[i];
    fields[sensed.names->fields[i].c_str()] = array_of(values, 1, size)[nb::int_(0)];
    values += size;
  }
  found["time_ns"] = sensed.time_ns;
  found["cameras"] = nb::tuple(cameras);
  found["fields"] = fields;
  found["earlier"] = nb::tuple();
  return found;
}
inline void take(SensedValues& sensed, nb::handle saved) {
  sensed.time_ns = nb::cast<std::int64_t>(saved["time_ns"]);
  std::fill(sensed.frames.begin(), sensed.frames.end(), 0);
  double* values = sensed.fields.data();
  for (std::size_t i = 0; i < sensed.names->fields.size(); ++i) {
    const auto size = sensed.names->sizes[i];
    if (copy_into(values, size, saved["fields"][sensed.names->fields[i].c_str()]) != size) {
      throw nb::value_error("an array of another size");
    }
    values += size;
  }
}

template <class T>
nb::object tree_of(const Ring<T>& ring) {
  nb::list found;
  for (std::size_t i = 0; i < ring.size(); ++i) found.append(tree_of(ring[i]));
  return nb::tuple(found);
}
template <class T>
void take(Ring<T>& ring, nb::handle saved) {
  ring.clear();
  for (auto each : saved) take(ring.push(), each);
}

inline nb::object tree_of(const ObservationSync::Step& step) {
  return nb::make_tuple(step.tick_ns, tree_of(step.sensed));
}
inline void take(ObservationSync::Step& step, nb::handle saved) {
  step.tick_ns = nb::cast<std::int64_t>(saved[0]);
  take(step.sensed, saved[1]);
}

inline nb::dict tree_of(const ChunkRequest& request) {
  nb::dict found;
  nb::list earlier;
  for (const auto& each : request.earlier) earlier.append(tree_of(each));
  found["sensed"] = tree_of(request.sensed);
  found["sensed"]["earlier"] = nb::tuple(earlier);
  found["generation"] = request.generation;
  found["asked_ns"] = request.asked_ns;
  found["planned"] = request.planned.count
                         ? nb::object(nb::make_tuple(tree_of(request.planned), request.delay))
                         : nb::none();
  return found;
}
inline void take(ChunkRequest& request, nb::handle saved) {
  take(request.sensed, saved["sensed"]);
  std::size_t i = 0;
  for (auto each : saved["sensed"]["earlier"]) {
    if (i < request.earlier.size()) take(request.earlier[i++], each);
  }
  request.generation = nb::cast<std::int64_t>(saved["generation"]);
  request.asked_ns = nb::cast<std::int64_t>(saved["asked_ns"]);
  const nb::object planned = saved["planned"];
  request.planned.count = 0;
  if (planned.is_none()) return;
  take(request.planned, planned[0]);
  request.delay = nb::cast<std::int64_t>(planned[1]);
}

/// Fetches the waiting request, with its frame numbers by step and camera; None if there is none.
inline nb::object fetched(ChunkPolicy& policy) {
  auto request = policy.request_like();
  if (!policy.exchange().fetch(request)) return nb::none();
  auto found = tree_of(request);
  nb::list frames;
  const auto add = [&](const SensedValues& sensed) {
    nb::list numbers;
    for (auto number : sensed.frames) numbers.append(number);
    frames.append(nb::tuple(numbers));
  };
  for (const auto& each : request.earlier) add(each);
  add(request.sensed);
  found["frames"] = nb::tuple(frames);
  return found;
}

/// Delivers a chunk [steps, actions]; if it is None, an error of this kind with this text number.
inline void hand_over(ChunkPolicy& policy, std::int64_t began_ns, std::int64_t ended_ns,
                      nb::object chunk, std::int64_t kind, std::int64_t text) {
  if (!policy.exchange().is_computing()) throw nb::value_error("expected a fetched request");
  auto& answer = policy.exchange().answer();
  take(answer.chunk, chunk);
  answer.began_ns = began_ns;
  answer.ended_ns = ended_ns;
  answer.kind = chunk.is_none() ? static_cast<ChunkOutcome::Kind>(kind)
                                : ChunkOutcome::Kind::kChunk;
  answer.text = text;
  policy.exchange().hand_over();
}

}  // namespace policy_core
