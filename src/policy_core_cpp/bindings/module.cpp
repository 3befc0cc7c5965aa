// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0

// policy_core_native: the native controller for Python, where requests and loading remain.

#include <nanobind/nanobind.h>
#include <nanobind/ndarray.h>
#include <nanobind/stl/array.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/string.h>

#include <chrono>
#include <deque>
#include <memory>

#include "chunk_trees.hpp"
#include "policy_core/controller.hpp"
#include "policy_core/host.hpp"
#include "policy_core/loop.hpp"
#include "policy_core/messages.hpp"
#include "policy_core/onnx_runner.hpp"
#include "policy_core/snapshot.hpp"
#include "policy_core/velocity_estimator.hpp"
#include "policy_core/words.hpp"

namespace nb = nanobind;
using namespace policy_core;

namespace {

using View = nb::ndarray<nb::numpy, double, nb::c_contig>;

View view_of(Span span, nb::handle owner) {
  return View(span.data, {span.size}, owner);
}

nb::object none() { return nb::none(); }

Span span_of(nb::handle array) {
  if (array.is_none()) return {};
  auto flat = nb::cast<nb::ndarray<double, nb::c_contig>>(array);
  return {flat.data(), flat.size()};
}

template <class T>
nb::object optional(const std::optional<T>& value) {
  return value ? nb::cast(*value) : none();
}

/// A reason in the form of `policy_core.native.Reason`.
nb::tuple tuple_of(const Reason& reason) {
  return nb::make_tuple(static_cast<std::int64_t>(reason.code), reason.text, reason.count,
                        reason.stamps, reason.place, reason.fields, reason.a, reason.rules,
                        reason.latched_by, reason.recovered, reason.estop, reason.member,
                        reason.from, reason.to, static_cast<std::int64_t>(reason.why),
                        reason.b, reason.c, reason.is_drop_out, reason.held_s,
                        static_cast<std::int64_t>(reason.failed));
}

Reason reason_of(nb::handle tuple) {
  Reason reason;
  reason.code = static_cast<Reason::Code>(nb::cast<std::int64_t>(tuple[0]));
  reason.text = nb::cast<std::int64_t>(tuple[1]);
  reason.count = nb::cast<std::int64_t>(tuple[2]);
  reason.stamps = nb::cast<std::int64_t>(tuple[3]);
  reason.place = nb::cast<std::int64_t>(tuple[4]);
  reason.fields = nb::cast<std::uint64_t>(tuple[5]);
  reason.a = nb::cast<double>(tuple[6]);
  reason.rules = nb::cast<Rules>(tuple[7]);
  reason.latched_by = nb::cast<std::int64_t>(tuple[8]);
  reason.recovered = nb::cast<bool>(tuple[9]);
  reason.estop = nb::cast<std::int64_t>(tuple[10]);
  reason.member = nb::cast<std::int64_t>(tuple[11]);
  reason.from = nb::cast<std::int64_t>(tuple[12]);
  reason.to = nb::cast<std::int64_t>(tuple[13]);
  reason.why = static_cast<Reason::Why>(nb::cast<std::int64_t>(tuple[14]));
  reason.b = nb::cast<double>(tuple[15]);
  reason.c = nb::cast<double>(tuple[16]);
  reason.is_drop_out = nb::cast<bool>(tuple[17]);
  reason.held_s = nb::cast<double>(tuple[18]);
  reason.failed = static_cast<Reason::Code>(nb::cast<std::int64_t>(tuple[19]));
  return reason;
}

using Shape = std::initializer_list<std::size_t>;

nb::object copied(Span span, Shape shape) {
  auto numpy = nb::module_::import_("numpy");
  auto array = numpy.attr("array")(view_of(span, nb::handle()), nb::arg("copy") = true);
  if (shape.size() < 2) return array;
  nb::list sizes;
  for (auto size : shape) sizes.append(size);
  return array.attr("reshape")(sizes);
}

void fill(Span span, nb::handle value) {
  auto numpy = nb::module_::import_("numpy");
  auto flat = nb::cast<nb::ndarray<double, nb::c_contig>>(
      numpy.attr("ascontiguousarray")(value, "float64"));
  if (flat.size() != span.size) throw nb::value_error("an array of another size");
  std::copy(flat.data(), flat.data() + span.size, span.begin());
}

nb::dict dict_of(const Refusal& r) {
  nb::dict found;
  found["code"] = static_cast<std::int64_t>(r.code);
  found["to"] = r.to;
  found["other"] = r.other;
  found["member"] = r.member;
  found["is_given_up"] = r.is_given_up;
  found["state"] = r.state;
  found["failure"] = tuple_of(r.failure);
  auto& off = const_cast<Numbers&>(r.off);
  auto& speed = const_cast<Numbers&>(r.speed);
  found["off"] = copied({off.data(), off.size()}, {});
  found["speed"] = copied({speed.data(), speed.size()}, {});
  found["tilt"] = r.tilt;
  found["body_rate"] = r.body_rate;
  found["phase"] = r.phase;
  found["command"] = nb::make_tuple(r.command[0], r.command[1], r.command[2]);
  found["ticks"] = r.ticks;
  return found;
}

Refusal refusal_of(nb::handle found) {
  Refusal r;
  r.code = static_cast<Refusal::Code>(nb::cast<std::int64_t>(found["code"]));
  r.to = nb::cast<std::int64_t>(found["to"]);
  r.other = nb::cast<std::int64_t>(found["other"]);
  r.member = nb::cast<std::int64_t>(found["member"]);
  r.is_given_up = nb::cast<bool>(found["is_given_up"]);
  r.state = nb::cast<std::int64_t>(found["state"]);
  r.failure = reason_of(found["failure"]);
  for (auto [name, values] : {std::pair{"off", &r.off}, std::pair{"speed", &r.speed}}) {
    const auto array = span_of(found[name]);
    values->assign(array.begin(), array.end());
  }
  r.tilt = nb::cast<double>(found["tilt"]);
  r.body_rate = nb::cast<double>(found["body_rate"]);
  r.phase = nb::cast<double>(found["phase"]);
  for (std::size_t i = 0; i < 3; ++i) r.command[i] = nb::cast<double>(found["command"][i]);
  r.ticks = nb::cast<std::int64_t>(found["ticks"]);
  return r;
}

/// Writes the state of a controller into dicts, in the form of `ControlState.tree`.
class Saver {
 public:
  /// `whole`: including the members that only chunk policies read.
  Saver(nb::dict into, bool whole) : into_(into), whole_(whole) {}
  bool restores() const { return false; }
  bool is_whole() const { return whole_; }

  void value(const char* name, bool& value) { set(name, nb::cast(value)); }
  void value(const char* name, std::int64_t& value) { set(name, nb::cast(value)); }
  void value(const char* name, double& value) { set(name, nb::cast(value)); }
  void vector(const char* name, Vector3& v) { set(name, nb::make_tuple(v[0], v[1], v[2])); }
  void value(const char* name, Time& value) { set(name, optional(value)); }
  void value(const char* name, std::optional<std::pair<std::int64_t, std::int64_t>>& value) {
    set(name, value ? nb::object(nb::make_tuple(value->first, value->second)) : none());
  }
  void value(const char* name, Mode& value) {
    set(name, nb::cast(static_cast<std::int64_t>(value)));
  }
  void array(const char* name, Span span, Shape shape = {}) { set(name, copied(span, shape)); }
  void rows(const char* name, Numbers& values, std::size_t rows, std::size_t columns) {
    set(name, copied({values.data(), rows * columns}, {rows, columns}));
  }
  void integers(const char* name, Integers& values, std::size_t& count) {
    nb::list found;
    for (std::size_t i = 0; i < count; ++i) found.append(values[i]);
    set(name, nb::tuple(found));
  }
  void reason(const char* name, Reason& reason) { tag(name, "reason", tuple_of(reason)); }
  void reason(const char* name, std::optional<Reason>& reason) {
    const bool is_last = std::string(name) == "last";
    tag(name, is_last ? "last" : "reason", reason ? nb::object(tuple_of(*reason)) : none());
  }
  void refusal(const char* name, Refusal& refusal) { tag(name, "refusal", dict_of(refusal)); }
  void state(const char* name, std::int64_t& state) { tag(name, "state", nb::cast(state)); }
  void request(const char* name, std::optional<PolicySet::Request>& request) {
    tag(name, "request",
        request ? nb::object(nb::make_tuple(request->to, static_cast<std::int64_t>(request->why),
                                            request->ticks, request->timeout_state))
                : none());
  }
  void text(const char* name, std::int64_t& text) { tag(name, "text", nb::cast(text)); }
  void step(const char* name, Input::Stepped& whose, std::int64_t& step_ns) {
    tag(name, "step", nb::make_tuple(static_cast<std::int64_t>(whose), step_ns));
  }
  void stamps(const char* name, Input::Refused& value) {
    tag(name, "stamps", nb::cast(static_cast<std::int64_t>(value)));
  }
  void rules(const char* name, Rules& rules) { tag(name, "rules", nb::cast(rules)); }
  void estop(const char* name, std::atomic<std::int64_t>& text) {
    tag(name, "estop", nb::cast(text.load()));
  }
  void driver(const char* name, std::atomic<std::int64_t>& text) {
    tag(name, "text", nb::cast(text.load()));
  }
  void counters(const char* name, std::array<std::int64_t, kRules>& counters) {
    nb::list found;
    for (auto count : counters) found.append(count);
    tag(name, "counters", nb::tuple(found));
  }
  template <class Motion>
  void motion(const char* name, Motion& motion) {
    tag(name, "motion", nb::cast(static_cast<std::int64_t>(motion)));
  }
  template <class T>
  void plain(const char* name, T& value) {
    tag(name, "plain", tree_of(value));
  }
  void some(const char* name, Numbers& values, std::size_t& size) {
    tag(name, "plain", copied({values.data(), size}, {}));
  }
  void some(const char* name, ChunkRequest& request, bool& is_there) {
    tag(name, "plain", is_there ? nb::object(tree_of(request)) : none());
  }
  void some(const char* name, std::optional<Reason>& reason) {
    tag(name, "blind", reason ? nb::object(tuple_of(*reason)) : none());
  }
  void some(const char* name, std::optional<ChunkPolicy::Failure>& failure) {
    tag(name, "failure",
        failure ? nb::object(nb::make_tuple(static_cast<std::int64_t>(failure->first),
                                            tuple_of(failure->second)))
                : none());
  }
  void steps(const Ring<ObservationSync::Step>& steps, ObservationSync::Step& newest,
             bool& has_newest) {
    nb::list found(tree_of(steps));
    if (has_newest) found.append(tree_of(newest));
    tag("steps", "plain", nb::tuple(found));
    set("has_newest", nb::cast(has_newest));
  }
  void driver(const char* name, PersonTakeover::Driver& driver) {
    tag(name, "driver", nb::cast(static_cast<std::int64_t>(driver)));
  }
  void tensor(const Tensor& tensor) {
    const auto& raw = tensor.raw();
    Numbers values(raw.count);
    tensor.read(values.data());
    set(raw.name, copied({values.data(), values.size()}, {}));
  }
  template <class T>
  void part(const char* name, T& part) {
    part.visit(*std::make_unique<Saver>(dict(name), whole_));
  }
  template <class T>
  void part(std::size_t i, T& part) {
    this->part(std::to_string(i).c_str(), part);
  }
  template <class T>
  void optional_part(const char* name, std::optional<T>& part) {
    if (part) {
      this->part(name, *part);
    } else {
      set(name, none());
    }
  }
  Saver mapping(const char* name) { return Saver(dict(name), whole_); }
  Saver sequence(const char* name, std::size_t) {
    nb::dict parts;
    tag(name, "sequence", parts);
    return Saver(parts, whole_);
  }

 private:
  nb::dict dict(const char* name) {
    nb::dict part;
    set(name, part);
    return part;
  }
  void set(const char* name, nb::object value) { into_[name] = value; }
  /// For `policy_core.native`, which converts numbers to words and names.
  void tag(const char* name, const char* tag, nb::object value) {
    set(name, nb::make_tuple(tag, value));
  }

  nb::dict into_;
  bool whole_;
};

/// Restores the state of a controller from the form that a `Saver` writes.
///
/// Throws KeyError, TypeError or ValueError if it belongs to another controller.
class Restorer {
 public:
  /// `all`: including the press of an e-stop and a stopped driver, which belong to other threads,
  /// and the members that only chunk policies read.
  Restorer(nb::object from, bool all) : from_(std::move(from)), all_(all) {}
  bool restores() const { return true; }
  bool is_whole() const { return all_; }

  template <class T>
  void value(const char* name, T& value) {
    value = nb::cast<T>(get(name));
  }
  void value(const char* name, Time& value) {
    const auto found = get(name);
    value = found.is_none() ? Time() : Time(nb::cast<std::int64_t>(found));
  }
  void value(const char* name, std::optional<std::pair<std::int64_t, std::int64_t>>& value) {
    const auto found = get(name);
    value.reset();
    if (!found.is_none()) {
      value = {nb::cast<std::int64_t>(found[0]), nb::cast<std::int64_t>(found[1])};
    }
  }
  void value(const char* name, Mode& value) {
    value = static_cast<Mode>(nb::cast<std::int64_t>(get(name)));
  }
  void vector(const char* name, Vector3& v) {
    const auto found = get(name);
    for (std::size_t i = 0; i < 3; ++i) v[i] = nb::cast<double>(found[i]);
  }
  void array(const char* name, Span span, Shape = {}) { fill(span, get(name)); }
  void rows(const char* name, Numbers& values, std::size_t rows, std::size_t columns) {
    const auto found = get(name);
    rows = nb::len(found);
    if (rows * columns > values.size()) throw nb::value_error("expected fewer rows");
    fill({values.data(), rows * columns}, found);
  }
  void integers(const char* name, Integers& values, std::size_t& count) {
    const auto found = get(name);
    count = nb::len(found);
    if (count > values.size()) throw nb::value_error("expected fewer values");
    for (std::size_t i = 0; i < count; ++i) values[i] = nb::cast<std::int64_t>(found[i]);
  }
  void reason(const char* name, Reason& reason) { reason = reason_of(tagged(name)); }
  void reason(const char* name, std::optional<Reason>& reason) {
    const auto found = tagged(name);
    reason = found.is_none() ? std::nullopt : std::optional<Reason>(reason_of(found));
  }
  void refusal(const char* name, Refusal& refusal) {
    refusal.code = static_cast<Refusal::Code>(nb::cast<std::int64_t>(tagged(name)["code"]));
    refusal.failure.text = nb::cast<std::int64_t>(tagged(name)["text"]);
  }
  void state(const char* name, std::int64_t& state) { state = number(name); }
  void request(const char* name, std::optional<PolicySet::Request>& request) {
    const auto found = tagged(name);
    request.reset();
    if (found.is_none()) return;
    request = {nb::cast<std::int64_t>(found[0]),
               static_cast<Reason::Why>(nb::cast<std::int64_t>(found[1])),
               nb::cast<std::int64_t>(found[2]), nb::cast<std::int64_t>(found[3])};
  }
  void text(const char* name, std::int64_t& text) { text = number(name); }
  void step(const char* name, Input::Stepped& whose, std::int64_t& step_ns) {
    const auto found = tagged(name);
    whose = static_cast<Input::Stepped>(nb::cast<std::int64_t>(found[0]));
    step_ns = nb::cast<std::int64_t>(found[1]);
  }
  void stamps(const char* name, Input::Refused& value) {
    value = static_cast<Input::Refused>(number(name));
  }
  void rules(const char* name, Rules& rules) { rules = static_cast<Rules>(number(name)); }
  void estop(const char* name, std::atomic<std::int64_t>& text) {
    if (all_) text.store(number(name));
  }
  void driver(const char* name, std::atomic<std::int64_t>& text) {
    if (!all_) return;
    const auto found = number(name);
    text.store(found == 0 ? -1 : found);
  }
  void counters(const char* name, std::array<std::int64_t, kRules>& counters) {
    const auto found = tagged(name);
    for (std::size_t i = 0; i < kRules; ++i) counters[i] = nb::cast<std::int64_t>(found[i]);
  }
  template <class Motion>
  void motion(const char* name, Motion& motion) {
    motion = static_cast<Motion>(number(name));
  }
  template <class T>
  void plain(const char* name, T& value) {
    take(value, tagged(name));
  }
  void some(const char* name, Numbers& values, std::size_t& size) {
    size = copy_into(values.data(), values.size(), tagged(name));
  }
  void some(const char* name, ChunkRequest& request, bool& is_there) {
    const auto found = tagged(name);
    is_there = !found.is_none();
    if (is_there) take(request, found);
  }
  void some(const char* name, std::optional<Reason>& why) { reason(name, why); }
  void some(const char* name, std::optional<ChunkPolicy::Failure>& failure) {
    const auto found = tagged(name);
    failure.reset();
    if (found.is_none()) return;
    failure = {static_cast<ChunkOutcome::Kind>(nb::cast<std::int64_t>(found[0])),
               reason_of(found[1])};
  }
  void steps(Ring<ObservationSync::Step>& steps, ObservationSync::Step& newest,
             bool& has_newest) {
    nb::list found(tagged("steps"));
    has_newest = nb::cast<bool>(get("has_newest"));
    if (has_newest) take(newest, found.attr("pop")());
    take(steps, found);
  }
  void driver(const char* name, PersonTakeover::Driver& driver) {
    driver = static_cast<PersonTakeover::Driver>(number(name));
  }
  void tensor(const Tensor& tensor) {
    Numbers values(tensor.size());
    fill({values.data(), values.size()}, get(tensor.raw().name));
    tensor.write(values.data());
  }
  template <class T>
  void part(const char* name, T& part) {
    Restorer inside(get(name), all_);
    part.visit(inside);
  }
  template <class T>
  void part(std::size_t i, T& part) {
    this->part(std::to_string(i).c_str(), part);
  }
  template <class T>
  void optional_part(const char* name, std::optional<T>& part) {
    if (part) this->part(name, *part);
  }
  Restorer mapping(const char* name) { return Restorer(get(name), all_); }
  Restorer sequence(const char* name, std::size_t) { return Restorer(tagged(name), all_); }

 private:
  nb::object get(const char* name) { return from_[name]; }
  nb::object tagged(const char* name) { return get(name)[1]; }
  std::int64_t number(const char* name) { return nb::cast<std::int64_t>(tagged(name)); }

  nb::object from_;
  bool all_;
};

template <class Part>
nb::dict saved(Part& part, bool whole = true) {
  nb::dict tree;
  Saver saver(tree, whole);
  part.visit(saver);
  return tree;
}

template <class Part>
void restore(Part& part, nb::object saved, bool all = false) {
  Restorer restorer(std::move(saved), all);
  part.visit(restorer);
}

std::int64_t steady_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

/// A model in ONNX Runtime, which runs without Python.
class OnnxModel {
 public:
  OnnxModel(const std::string& library, nb::bytes model)
      : onnx_(library, static_cast<const std::uint8_t*>(model.data()), model.size()) {}

  const policy_core_runner& runner() const { return onnx_.runner(); }
  const char* error() const { return onnx_.error(); }
  bool run() {
    nb::gil_scoped_release unlocked;
    return runner().run(runner().context) == 0;
  }

 private:
  OnnxRunner onnx_;
};

nb::dict arrays_of(const policy_core_tensor* tensors, std::size_t count, nb::handle owner) {
  nb::dict arrays;
  for (const auto* each = tensors; each != tensors + count; ++each) {
    if (each->dtype == POLICY_CORE_FLOAT32) {
      arrays[each->name] = nb::ndarray<nb::numpy, float, nb::c_contig>(
          static_cast<float*>(each->data), {each->count}, owner);
    } else {
      arrays[each->name] = nb::ndarray<nb::numpy, double, nb::c_contig>(
          static_cast<double*>(each->data), {each->count}, owner);
    }
  }
  return arrays;
}

class NativeController {
 public:
  /// `models`: by member, an `OnnxModel`, or the inputs and outputs by name and a function that
  /// runs it and returns 0 or the number of its error. `clock`: None for the steady clock.
  /// `memory`: for the state fields; None to allocate it. `slots`: number of ticks kept for `pop`;
  /// `sources`: number of message sources.
  NativeController(nb::bytes plan, nb::dict models, nb::object clock, nb::object memory,
                   std::size_t slots, std::size_t sources)
      : table_(Table::parse(static_cast<const std::uint8_t*>(plan.data()), plan.size())),
        clock_(clock),
        memory_(memory) {
    Models runners;
    for (auto [name, model] : models) {
      models_.emplace_back();
      auto& each = models_.back();
      if (nb::isinstance<OnnxModel>(model)) {
        each.run = nb::borrow(model);
        runners.emplace_back(nb::cast<std::string>(name), &nb::cast<OnnxModel&>(model).runner());
        continue;
      }
      each.run = nb::borrow(model[2]);
      add(nb::cast<nb::dict>(model[0]), each.inputs);
      add(nb::cast<nb::dict>(model[1]), each.outputs);
      each.runner = {&each, each.inputs.data(), each.inputs.size(), each.outputs.data(),
                     each.outputs.size(), [](void* self) -> long {
                       nb::gil_scoped_acquire lock;
                       return nb::cast<long>(static_cast<Model*>(self)->run());
                     },
                     nullptr};
      runners.emplace_back(nb::cast<std::string>(name), &each.runner);
    }
    host_ = std::make_unique<Host>(
        table_, runners,
        [](void* self) -> std::int64_t {
          if (static_cast<NativeController*>(self)->is_steady_) return steady_ns();
          nb::gil_scoped_acquire lock;
          return nb::cast<std::int64_t>(static_cast<NativeController*>(self)->clock_());
        },
        this, span_of(memory), slots, sources);
    is_steady_ = clock.is_none();
    names_of_ = runners;
  }

  Controller& controller() { return host_->controller(); }
  Host& host() { return *host_; }
  /// Uses the steady clock from now on, without Python.
  void use_steady_clock() { is_steady_ = true; }

  /// Copies each record taken by `pop` into these arrays.
  void mirror(nb::object seen, nb::object state, nb::object target, nb::object authority,
              nb::object block, nb::list inputs, nb::list outputs) {
    seen_ = span_of(seen);
    state_ = span_of(state);
    target_ = span_of(target);
    authority_ = span_of(authority);
    block_ = span_of(block);
    kept_.push_back(nb::make_tuple(seen, state, target, authority, block, inputs, outputs));
    inputs_ = bytes_of(inputs);
    outputs_ = bytes_of(outputs);
  }

  nb::object pop() {
    const auto* r = host_->oldest();
    if (!r) return none();
    copy(r->seen, seen_);
    copy(r->state, state_);
    if (r->taken) copy(r->target, target_);
    copy(r->authority, authority_);
    if (r->sent_mode >= 0) copy(r->block, block_);
    if (r->asked) copy(r->inputs, inputs_);
    if (r->answered) copy(r->outputs, outputs_);
    nb::list born, measured, wire;
    for (const auto& time : r->born_ns) born.append(optional(time));
    for (const auto& time : r->measured_ns) measured.append(optional(time));
    for (const auto& place : r->places) {
      wire.append(place.size
                      ? nb::object(nb::bytes(r->wire.data() + place.begin, place.size))
                      : none());
    }
    const bool is_other = r->edges != edges_seen_;
    edges_seen_ = r->edges;
    nb::tuple found = nb::make_tuple(
        r->number, r->due.now_ns, r->due.stamp_ns, r->duration_ns, r->due.missed, r->due.late_ns,
        static_cast<std::int64_t>(r->mode), is_other ? nb::object(tuple_of(r->reason)) : none(),
        r->edges, r->trips,
        r->trips ? nb::object(nb::make_tuple(static_cast<std::int64_t>(r->trip.rule),
                                             tuple_of(r->trip.reason), r->trip.latched))
                 : none(),
        r->asked, r->begins, r->answered, r->taken, r->blend, r->clipped_ticks,
        r->sent_mode, r->sequence, r->refused, r->doubted, nb::tuple(born), nb::tuple(measured),
        nb::tuple(wire),
        r->snapshot_bytes ? nb::object(nb::bytes(r->snapshot.data(), r->snapshot_bytes)) : none());
    host_->drop();
    return found;
  }

  /// The state in a snapshot, as a Saver writes it.
  nb::dict tree_of(nb::bytes snapshot) {
    if (!scratch_) {
      Models idle;
      for (const auto& [name, model] : names_of_) {
        scratch_models_.push_back(std::make_unique<IdleModel>(*model));
        idle.emplace_back(name, &scratch_models_.back()->runner);
      }
      scratch_ = std::make_unique<Controller>(
          table_, idle, [](void*) -> std::int64_t { return 0; }, nullptr);
    }
    Snapshot<true>::Bytes bytes{static_cast<const std::uint8_t*>(snapshot.data()),
                                snapshot.size()};
    Snapshot<true> reader(bytes);
    scratch_->visit(reader);
    return saved(*scratch_);
  }

  Part plan() const { return Part(table_); }

  /// Throws ValueError if there is no chunk policy of this name; a single policy has an empty name.
  ChunkPolicy& chunks(const std::string& member) {
    auto* found = controller().chunk_policy(member);
    if (!found) throw nb::value_error("expected the name of a chunk policy");
    return *found;
  }

  /// Same as `chunks`.
  FrameBuffer& frames(const std::string& member, std::size_t camera) {
    auto& sync = chunks(member).sync();
    if (camera >= sync.cameras()) throw nb::index_error("expected the number of a camera");
    return sync.frames(camera);
  }

  /// Throws ValueError if no person may take over.
  PersonTakeover& person() {
    auto* found = controller().person();
    if (!found) throw nb::value_error("expected a policy with takeover");
    return *found;
  }

  /// Calls `notify` within the tick for each event of an exchange, with the time of the tick.
  void on_event(const std::string& member, nb::object notify) {
    auto& policy = chunks(member);
    listeners_.push_back({&policy, std::move(notify)});
    policy.exchange().context = &listeners_.back();
    policy.exchange().notify = [](void* self, ChunkExchange::Event event) {
      nb::gil_scoped_acquire lock;
      const auto& [policy, notify] = *static_cast<Listener*>(self);
      notify(static_cast<std::int64_t>(event), policy->now_ns());
    };
  }

  /// The state of a chunk policy, its member or its takeover, without the parts that only chunk
  /// policies read.
  nb::dict saved_chunks(const std::string& name) {
    auto& policy = chunks(name);
    for (std::size_t i = 0; !name.empty() && i < controller().policy_set()->members().size(); ++i) {
      auto& member = *controller().policy_set()->members()[i];
      if (member.name() == name) return saved(*member.as_chunk(), false);
    }
    return controller().person() ? saved(*controller().person(), false) : saved(policy, false);
  }

  /// References for the garbage collector: models and clock often refer to their owner.
  template <class Visit>
  int traverse(Visit visit) {
    if (int stop = visit(clock_.ptr())) return stop;
    for (auto& model : models_) {
      if (int stop = visit(model.run.ptr())) return stop;
    }
    for (auto& listener : listeners_) {
      if (int stop = visit(listener.notify.ptr())) return stop;
    }
    return 0;
  }

  void clear() {
    clock_.reset();
    for (auto& model : models_) model.run.reset();
    for (auto& listener : listeners_) listener.notify.reset();
  }

 private:
  struct Bytes {
    std::uint8_t* data;
    std::size_t size;
  };
  /// Has the tensors of another model, and never runs.
  struct IdleModel {
    explicit IdleModel(const policy_core_runner& other) : runner(other) {
      add(other.inputs, other.input_count, inputs);
      add(other.outputs, other.output_count, outputs);
      runner.inputs = inputs.data();
      runner.outputs = outputs.data();
    }
    void add(const policy_core_tensor* from, std::size_t count,
             std::vector<policy_core_tensor>& into) {
      for (std::size_t i = 0; i < count; ++i) {
        arrays.emplace_back(from[i].count);
        into.push_back(from[i]);
        into.back().data = arrays.back().data();
      }
    }
    std::deque<Numbers> arrays;
    std::vector<policy_core_tensor> inputs, outputs;
    policy_core_runner runner;
  };

  static void copy(const Numbers& from, Span into) noexcept {
    std::copy_n(from.begin(), std::min(from.size(), into.size), into.begin());
  }
  static void copy(const std::vector<std::uint8_t>& from, const std::vector<Bytes>& into) noexcept {
    const auto* at = from.data();
    for (const auto& each : into) {
      std::memcpy(each.data, at, each.size);
      at += each.size;
    }
  }
  static std::vector<Bytes> bytes_of(nb::list arrays) {
    std::vector<Bytes> found;
    for (auto each : arrays) {
      auto array = nb::cast<nb::ndarray<nb::c_contig, nb::device::cpu>>(each);
      found.push_back({static_cast<std::uint8_t*>(array.data()), array.nbytes()});
    }
    return found;
  }

  void add(nb::dict arrays, std::vector<policy_core_tensor>& tensors) {
    for (auto [key, value] : arrays) {
      names_.push_back(nb::cast<std::string>(key));
      auto array = nb::cast<nb::ndarray<nb::c_contig, nb::device::cpu>>(value);
      const bool is_float = array.dtype() == nb::dtype<float>();
      if (!is_float && array.dtype() != nb::dtype<double>()) {
        throw nb::value_error("expected tensors of float32 or float64");
      }
      kept_.push_back(nb::borrow(value));
      tensors.push_back({names_.back().c_str(), array.data(), array.size(),
                         is_float ? POLICY_CORE_FLOAT32 : POLICY_CORE_FLOAT64});
    }
  }

  struct Listener {
    ChunkPolicy* policy;
    nb::object notify;
  };

  struct Model {
    nb::object run;
    std::vector<policy_core_tensor> inputs, outputs;
    policy_core_runner runner{};
  };

  Table table_;
  nb::object clock_, memory_;
  std::atomic<bool> is_steady_{false};
  Models names_of_;
  Span seen_, state_, target_, authority_, block_;
  std::vector<Bytes> inputs_, outputs_;
  std::int64_t edges_seen_ = -1;
  std::vector<std::unique_ptr<IdleModel>> scratch_models_;
  std::unique_ptr<Controller> scratch_;
  std::deque<std::string> names_;
  std::deque<nb::object> kept_;
  std::deque<Model> models_;
  std::deque<Listener> listeners_;
  std::unique_ptr<Host> host_;
};

nb::tuple problem_of(const JointCheck::Problem& p) {
  return nb::make_tuple(static_cast<std::int64_t>(p.code), p.place, p.is_velocity, p.found, p.low,
                        p.high, p.count, p.needed);
}

JointCheck::Problem joint_problem_of(nb::handle found) {
  return {static_cast<JointCheck::Problem::Code>(nb::cast<std::int64_t>(found[0])),
          nb::cast<std::size_t>(found[1]),
          nb::cast<bool>(found[2]),
          nb::cast<double>(found[3]),
          nb::cast<double>(found[4]),
          nb::cast<double>(found[5]),
          nb::cast<std::int64_t>(found[6]),
          nb::cast<std::int64_t>(found[7])};
}

/// The reader `place` of the part `messages` of a controller's plan.
class NativeReader {
 public:
  NativeReader(NativeController& native, std::size_t place, std::int64_t problem)
      : reader_(MessageReader::open(native.plan().at("messages").at(std::to_string(place)),
                                    native.controller(), problem)) {}

  std::int64_t take(nb::bytes data, std::int64_t now_ns, std::int64_t ros_now_ns, bool repeated) {
    return static_cast<std::int64_t>(
        reader_->take(static_cast<const std::uint8_t*>(data.data()), data.size(),
                      {now_ns, ros_now_ns, repeated}));
  }
  nb::bytes refused() const {
    return nb::bytes(reader_->refused().data(), reader_->refused().size());
  }
  nb::tuple joint_problem() const { return problem_of(reader_->joint_problem()); }

 private:
  std::unique_ptr<MessageReader> reader_;
};

/// An encoder whose plan contains nothing else.
class NativeEncoder {
 public:
  NativeEncoder(nb::bytes plan, std::size_t joints)
      : encoder_(Part(Table::parse(static_cast<const std::uint8_t*>(plan.data()), plan.size())),
                 joints),
        targets_(joints) {}

  nb::bytes encode(nb::ndarray<double, nb::c_contig> block, std::int64_t mode,
                   std::int64_t stamp_ns, std::uint64_t sequence) {
    if (block.size() != targets_.block().size()) throw nb::value_error("targets of other joints");
    std::copy(block.data(), block.data() + block.size(), targets_.block().begin());
    targets_.mode = static_cast<Mode>(mode);
    const auto& message = encoder_.encode(targets_, stamp_ns, sequence);
    return nb::bytes(message.data(), message.size());
  }

 private:
  CommandEncoder encoder_;
  Targets targets_;
};

/// A loop over rcl; its functions, subscriptions and publisher are given by their addresses.
class NativeLoop {
 public:
  /// `trigger`, `wait_set`: as in `Loop::Trigger`; 0 to start ticks at deadlines.
  NativeLoop(nb::tuple middleware, nb::list subscriptions, std::uintptr_t publisher,
             nb::bytes encoder, std::size_t joints, std::int64_t period_ns, std::size_t trigger,
             std::uintptr_t wait_set) {
    Middleware rcl{};
    rcl.take = reinterpret_cast<Middleware::Take>(address(middleware[0]));
    rcl.publish = reinterpret_cast<Middleware::Publish>(address(middleware[1]));
    rcl.reset_error = reinterpret_cast<void (*)()>(address(middleware[2]));
    rcl.free_message =
        reinterpret_cast<int (*)(Middleware::Message*)>(address(middleware[3]));
    for (std::size_t i = 0; i < rcl.allocator.size(); ++i) {
      rcl.allocator[i] = reinterpret_cast<void*>(address(middleware[4 + i]));
    }
    rcl.clear = reinterpret_cast<int (*)(void*)>(address(middleware[9]));
    rcl.add = reinterpret_cast<Middleware::Add>(address(middleware[10]));
    rcl.wait = reinterpret_cast<Middleware::Wait>(address(middleware[11]));
    std::vector<const void*> pointers;
    for (auto each : subscriptions) pointers.push_back(reinterpret_cast<void*>(address(each)));
    const auto plan =
        Table::parse(static_cast<const std::uint8_t*>(encoder.data()), encoder.size());
    loop_ = std::make_unique<Loop>(rcl, std::move(pointers), reinterpret_cast<void*>(publisher),
                                   std::make_unique<CommandEncoder>(Part(plan), joints), period_ns,
                                   Loop::Trigger{trigger, reinterpret_cast<void*>(wait_set)});
  }

  Loop& loop() { return *loop_; }

  /// Samples for a controller, by the plan of its readers; `readers`: for each, the index of its
  /// subscription and the number of its problem.
  void host(NativeController& native, nb::bytes plan, nb::list readers) {
    auto sampled = std::make_shared<Loop::Sampled>();
    auto table = std::make_unique<Table>(
        Table::parse(static_cast<const std::uint8_t*>(plan.data()), plan.size()));
    sampled->host = &native.host();
    std::size_t number = 0;
    for (auto each : readers) {
      sampled->readers.emplace_back(
          nb::cast<std::size_t>(each[0]),
          MessageReader::open(Part(*table).at("messages").at(std::to_string(number++)),
                              native.controller(), nb::cast<std::int64_t>(each[1])));
    }
    tables_.push_back(std::move(table));
    sampled_ = sampled;
    loop_->host(std::move(sampled));
  }

  /// The last refused message of a reader, and the reason of the last doubted joints.
  nb::tuple problem(std::size_t reader) {
    const auto& found = *sampled_->readers.at(reader).second;
    return nb::make_tuple(nb::bytes(found.refused().data(), found.refused().size()),
                          problem_of(found.joint_problem()));
  }

 private:
  static std::uintptr_t address(nb::handle number) { return nb::cast<std::uintptr_t>(number); }

  std::deque<std::unique_ptr<Table>> tables_;
  std::shared_ptr<Loop::Sampled> sampled_;
  std::unique_ptr<Loop> loop_;
};

using Values = nb::ndarray<const double, nb::c_contig, nb::device::cpu>;

template <class Array>
Array values_of(const Values& values) {
  Array found{};
  if (values.size() != found.size()) throw nb::value_error("an array of another size");
  std::copy_n(values.data(), found.size(), found.begin());
  return found;
}

VelocityEstimator estimator_of(nb::bytes plan) {
  const auto table = Table::parse(static_cast<const std::uint8_t*>(plan.data()), plan.size());
  return VelocityEstimator(Part(table).at("estimation"));
}

void update(VelocityEstimator& estimator, double step_s, const Values& joint_pos,
            const Values& joint_vel, const Values& quat_xyzw, const Values& ang_vel_body,
            const Values& lin_acc_body) {
  for (const auto* joints : {&joint_pos, &joint_vel}) {
    if (joints->size() != estimator.joint_count()) throw nb::value_error("values of other joints");
  }
  estimator.update({step_s, joint_pos.data(), joint_vel.data(), values_of<Quaternion>(quat_xyzw),
                    values_of<Vector3>(ang_vel_body), values_of<Vector3>(lin_acc_body)});
}

nb::dict problems_of(const Controller::Problems& p) {
  nb::dict found;
  found["any"] = p.any();
  found["latched"] = p.latched;
  found["pressed"] = p.pressed;
  found["wrong_mode"] = p.wrong_mode;
  found["inputs"] = p.inputs;
  found["not_finite"] = p.not_finite;
  found["outside"] = p.outside;
  found["held"] = p.held;
  found["far_off"] = p.far_off;
  found["tilt_rad"] = p.tilt_rad;
  return found;
}

int traverse(PyObject* self, visitproc visit, void* arg) {
  Py_VISIT(Py_TYPE(self));
  if (!nb::inst_ready(self)) return 0;
  return nb::inst_ptr<NativeController>(self)->traverse(
      [&](PyObject* each) { return each ? visit(each, arg) : 0; });
}

int clear(PyObject* self) {
  if (nb::inst_ready(self)) nb::inst_ptr<NativeController>(self)->clear();
  return 0;
}

PyType_Slot kSlots[] = {{Py_tp_traverse, reinterpret_cast<void*>(traverse)},
                        {Py_tp_clear, reinterpret_cast<void*>(clear)},
                        {0, nullptr}};

}  // namespace

NB_MODULE(policy_core_native, m) {
  // A failed test keeps its objects until the interpreter ends.
  nb::set_leak_warnings(false);
  nb::exception<PlanError>(m, "PlanError", PyExc_ValueError);
  nb::class_<OnnxModel>(m, "OnnxModel")
      .def(nb::init<const std::string&, nb::bytes>())
      .def("run", &OnnxModel::run)
      .def_prop_ro("error", &OnnxModel::error)
      .def_prop_ro("inputs", [](nb::handle self) {
        const auto& runner = nb::cast<OnnxModel&>(self).runner();
        return arrays_of(runner.inputs, runner.input_count, self);
      })
      .def_prop_ro("outputs", [](nb::handle self) {
        const auto& runner = nb::cast<OnnxModel&>(self).runner();
        return arrays_of(runner.outputs, runner.output_count, self);
      });
  nb::class_<Words>(m, "Words")
      .def("__init__",
           [](Words* self, nb::bytes plan) {
             new (self)
                 Words(Table::parse(static_cast<const std::uint8_t*>(plan.data()), plan.size()));
           })
      .def("number_of", &Words::number_of)
      .def("new_number", &Words::new_number)
      .def("set_text", &Words::set_text)
      .def("text", &Words::text)
      .def("reason", [](const Words& w, nb::handle found) { return w.reason(reason_of(found)); })
      .def("why", [](const Words& w, nb::handle found) { return w.why(reason_of(found)); })
      .def("sample",
           [](const Words& w, nb::handle found) { return w.sample(joint_problem_of(found)); })
      .def("switch_refusal",
           [](const Words& w, nb::handle found) { return w.switch_refusal(refusal_of(found)); })
      .def("clock_step", [](const Words& w, std::int64_t whose, std::int64_t step_ns) {
        return w.clock_step(static_cast<Input::Stepped>(whose), step_ns);
      });
  nb::class_<NativeController>(m, "NativeController", nb::type_slots(kSlots))
      .def(nb::init<nb::bytes, nb::dict, nb::object, nb::object, std::size_t, std::size_t>(),
           nb::arg("plan"), nb::arg("models"), nb::arg("clock").none(),
           nb::arg("memory").none() = nb::none(), nb::arg("slots") = 2, nb::arg("sources") = 0)
      .def("start", [](NativeController& n) { n.controller().start(); })
      .def("step",
           // A tick that returns only the mode, without the GIL.
           [](NativeController& n, std::int64_t now_ns, std::int64_t deadline_ns) {
             nb::gil_scoped_release unlocked;
             return static_cast<std::int64_t>(
                 n.controller().tick(now_ns, deadline_ns).mode);
           })
      .def("tick",
           [](NativeController& n, std::int64_t now_ns, std::int64_t deadline_ns) -> nb::object {
             const auto& result = n.controller().tick(now_ns, deadline_ns);
             if (!result.targets) return none();
             auto& block = result.targets->block();
             return nb::make_tuple(static_cast<std::int64_t>(result.targets->mode),
                                   copied({block.data(), block.size()},
                                          {6, result.targets->joints()}));
           })
      .def("flat", [](nb::handle self) {
        return view_of(nb::cast<NativeController&>(self).controller().state().flat(), self);
      })
      .def("advance",
           // A tick for a host that samples and sends itself.
           [](NativeController& n, std::int64_t now_ns, std::int64_t deadline_ns) {
             n.host().begin({now_ns, deadline_ns, 0});
             n.host().tick();
             n.host().end(0, -1);
           })
      .def("mirror", &NativeController::mirror)
      .def("pop", &NativeController::pop)
      .def("tree_of", &NativeController::tree_of)
      .def("use_steady_clock", &NativeController::use_steady_clock)
      .def_prop_ro("ticks", [](NativeController& n) { return n.host().ticks(); })
      .def_prop_ro("lost", [](NativeController& n) { return n.host().lost(); })
      .def_prop_ro("mode", [](NativeController& n) {
        return static_cast<std::int64_t>(n.controller().mode());
      })
      .def("lock", [](NativeController& n, std::int64_t timeout_ns) {
        nb::gil_scoped_release unlocked;
        return n.host().mutex().try_lock_for(std::chrono::nanoseconds(timeout_ns));
      })
      .def("unlock", [](NativeController& n) { n.host().mutex().unlock(); })
      .def("safe", [](NativeController& n) -> nb::object {
        auto* safe = n.controller().safe_targets();
        if (!safe) return none();
        return copied({safe->block().data(), safe->block().size()}, {});
      })
      .def_prop_ro("silence", [](NativeController& n) {
        // True if there are targets to send after a fault, and true if a pose to hold was ever
        // requested.
        return nb::make_tuple(n.controller().safe_targets() != nullptr,
                              n.controller().was_asked_for_a_pose());
      })
      .def("pop_edge", [](NativeController& n) -> nb::object {
        Edge edge;
        if (!n.controller().pop_edge(edge)) return none();
        return nb::make_tuple(static_cast<std::int64_t>(edge.mode), tuple_of(edge.reason),
                              edge.at_ns);
      })
      .def_prop_ro("trip", [](NativeController& n) -> nb::object {
        const auto& trip = n.controller().trip();
        if (!trip) return none();
        return nb::make_tuple(static_cast<std::int64_t>(trip->rule), tuple_of(trip->reason),
                              trip->latched);
      })
      .def_prop_ro("counters", [](NativeController& n) {
        nb::list found;
        for (auto count : n.controller().counters()) found.append(count);
        return found;
      })
      .def_prop_ro("authority", [](NativeController& n) {
        return n.controller().authority().lowest();
      })
      .def_prop_ro("latched", [](NativeController& n) { return n.controller().latched(); })
      .def_prop_ro("estop_noted", [](NativeController& n) { return n.controller().estop_noted(); })
      .def_prop_ro("pressed", [](NativeController& n) { return n.controller().pressed(); })
      .def("forget_press", [](NativeController& n, std::int64_t text) {
        n.controller().forget_press(text);
      })
      .def("reject_command", [](NativeController& n) { n.controller().reject_command(); })
      // The set's status: number of its state, true while blending, requested state, refusal,
      // switches, fallbacks, the last switch, its largest step.
      .def("set_report", [](NativeController& n) {
        const auto& set = *n.controller().policy_set();
        return nb::make_tuple(set.state(), set.is_blending(), set.asked(), dict_of(set.refused()),
                              set.switches(), set.fallbacks(),
                              set.last() ? nb::object(tuple_of(*set.last())) : none(),
                              set.step_ratio());
      })
      .def("set_state", [](NativeController& n) { return n.controller().policy_set()->state(); })
      .def("asked_ns", [](NativeController& n) { return n.controller().policy_set()->asked_ns(); })
      // Inputs, joint check and command, for use without ticks.
      .def("input_report", [](NativeController& n, std::size_t i) {
        const auto& input = n.controller().input(i);
        return nb::make_tuple(input.problem(), optional(input.measured_ns()), input.refused(),
                              static_cast<std::int64_t>(input.refused_stamps()),
                              static_cast<std::int64_t>(input.stepped()), input.step_ns());
      })
      .def("age_ns", [](NativeController& n, std::size_t i, std::int64_t now_ns) {
        return optional(n.controller().input(i).age_ns(now_ns));
      })
      .def("is_stale", [](NativeController& n, std::size_t i, std::int64_t now_ns) {
        return n.controller().input(i).is_stale(now_ns);
      })
      .def("saved_input", [](NativeController& n, std::size_t i) {
        return saved(n.controller().input(i));
      })
      .def("restore_input", [](NativeController& n, std::size_t i, nb::object tree) {
        restore(n.controller().input(i), tree);
      })
      .def("note_repeats", [](NativeController& n, std::size_t i, std::int64_t repeats) {
        n.controller().input(i).note_repeats(repeats);
      })
      .def("reset_input", [](NativeController& n, std::size_t i) {
        n.controller().input(i).reset();
      })
      .def("saved_command", [](NativeController& n) { return saved(n.controller().command()); })
      .def("restore_command", [](NativeController& n, nb::object tree) {
        restore(n.controller().command(), tree);
      })
      .def("update_command", [](NativeController& n, std::int64_t now_ns) {
        return n.controller().update_command(now_ns);
      })
      .def("open_command", [](NativeController& n) { n.controller().command().open(); })
      .def("close_command", [](NativeController& n, std::int64_t now_ns) {
        n.controller().command().close(now_ns);
      })
      .def("narrow_command", [](NativeController& n, std::array<double, 3> low,
                                std::array<double, 3> high) {
        n.controller().command().narrow(low, high);
      })
      .def("saved_joint_check", [](NativeController& n) {
        return saved(n.controller().joint_check());
      })
      .def("restore_joint_check", [](NativeController& n, nb::object tree) {
        restore(n.controller().joint_check(), tree);
      })
      .def("forget_joints", [](NativeController& n) { n.controller().joint_check().forget(); })
      .def("believe_joints", [](NativeController& n, nb::object position, std::int64_t now_ns) {
        n.controller().joint_check().believe_now(span_of(position), now_ns);
      })
      .def("doubted", [](NativeController& n) -> nb::object {
        const auto* found = n.controller().joint_check().doubted();
        if (!found) return none();
        return copied({const_cast<double*>(found->data()), found->size()}, {});
      })
      .def_prop_rw("in_motion",
                   [](NativeController& n) { return n.controller().joint_check().in_motion; },
                   [](NativeController& n, bool in_motion) {
                     n.controller().joint_check().in_motion = in_motion;
                   })
      .def_prop_ro("joints_lost",
                   [](NativeController& n) { return n.controller().joint_check().lost; })
      .def_prop_ro("joints_replaced",
                   [](NativeController& n) { return n.controller().joint_check().replaced; })
      .def("target", [](NativeController& n) {
        auto& t = const_cast<Numbers&>(n.controller().target());
        return copied({t.data(), t.size()}, {});
      })
      .def("is_new", [](NativeController& n, std::size_t i, Time stamp, std::int64_t now) {
        return n.controller().input(i).is_new(stamp, now);
      }, nb::arg(), nb::arg().none(), nb::arg())
      .def("accept", [](NativeController& n, std::size_t i, std::int64_t now, Time stamp,
                        std::int64_t ros) { n.controller().input(i).accept(now, stamp, ros); },
           nb::arg(), nb::arg(), nb::arg().none(), nb::arg())
      .def("reject", [](NativeController& n, std::size_t i, std::int64_t problem) {
        n.controller().input(i).reject(problem);
      })
      .def("judge", [](NativeController& n, nb::ndarray<double, nb::c_contig> position,
                       nb::object velocity, std::int64_t now) {
        Span speed;
        if (!velocity.is_none()) {
          auto array = nb::cast<nb::ndarray<double, nb::c_contig>>(velocity);
          speed = {array.data(), array.size()};
        }
        return problem_of(n.controller().joint_check().judge(
            {position.data(), position.size()}, speed, now));
      }, nb::arg(), nb::arg().none(), nb::arg())
      .def("set_command", [](NativeController& n, double x, double y, double z, std::int64_t born) {
        return n.controller().command().set({x, y, z}, born);
      })
      .def("stand", [](NativeController& n) { return problems_of(n.controller().stand()); })
      .def("run", [](NativeController& n) { return problems_of(n.controller().run()); })
      .def("damp", [](NativeController& n, std::int64_t t) { return n.controller().damp(t); })
      .def("stop", [](NativeController& n, std::int64_t t) { n.controller().stop(t); })
      .def("reset", [](NativeController& n) { n.controller().reset(); })
      .def("set_authority", [](NativeController& n, double share, std::int64_t rest,
                               nb::list places) {
        std::vector<bool> joints(n.controller().authority().share().size());
        for (auto each : places) joints.at(nb::cast<std::size_t>(each)) = true;
        return n.controller().set_authority(share, static_cast<Rest>(rest), joints);
      })
      .def("fade_command", [](NativeController& n) { n.controller().fade_command(); })
      .def("press_estop", [](NativeController& n, std::int64_t t) {
        n.controller().press_estop(t);
      })
      .def("driver_stopped", [](NativeController& n, std::int64_t t) {
        n.controller().driver_stopped(t);
      })
      .def("fault", [](NativeController& n, std::int64_t rule, std::int64_t t) {
        n.controller().fault(static_cast<Rule>(rule), t);
      })
      .def("ask", [](NativeController& n, std::int64_t to) {
        return dict_of(n.controller().policy_set()->ask(to));
      })
      .def("go_back", [](NativeController& n) { n.controller().policy_set()->go_back(); })
      .def("stop_set", [](NativeController& n) { n.controller().policy_set()->stop(); })
      .def("may_stand", [](NativeController& n) {
        return n.controller().policy_set()->may_stand();
      })
      .def("pop_refusal", [](NativeController& n) -> nb::object {
        const auto* found = n.controller().policy_set()->pop_refusal();
        return found ? nb::object(dict_of(*found)) : none();
      })
      // The frame's number, and that of the oldest frame that may still be requested.
      .def("add_frame", [](NativeController& n, const std::string& member, std::size_t camera,
                           nb::ndarray<const std::uint8_t, nb::c_contig> data, std::int64_t time) {
        const auto number = n.frames(member, camera).add(data.data(), data.size(), time);
        return nb::make_tuple(number, n.chunks(member).sync().oldest_frame(camera));
      })
      .def("frame_report", [](NativeController& n, const std::string& member, std::size_t camera) {
        const auto& frames = n.frames(member, camera);
        return nb::make_tuple(frames.equal_frames(), frames.moved_rad(), frames.is_repeating(),
                              frames.is_frozen());
      })
      .def("frame_content", [](NativeController& n, const std::string& member,
                               std::size_t camera) {
        const auto& content = n.frames(member, camera).content();
        return nb::bytes(content.bytes.data(), content.size);
      })
      .def("clear_frames", [](NativeController& n, const std::string& member, std::size_t camera) {
        n.frames(member, camera).clear();
      })
      .def("on_event", &NativeController::on_event)
      .def("saved_chunks", &NativeController::saved_chunks)
      .def("restore_chunks", [](NativeController& n, const std::string& member, nb::object tree) {
        restore(n.chunks(member), tree, true);
      })
      .def("reset_chunks", [](NativeController& n, const std::string& member) {
        n.chunks(member).reset();
      })
      .def("generation", [](NativeController& n, const std::string& member) {
        return n.chunks(member).generation();
      })
      .def("chunks_left", [](NativeController& n, const std::string& member) {
        return n.chunks(member).left();
      })
      .def("give_up", [](NativeController& n, const std::string& member) {
        n.chunks(member).exchange().give_up();
      })
      .def("fetch", [](NativeController& n, const std::string& member) {
        return fetched(n.chunks(member));
      })
      .def("hand_over", [](NativeController& n, const std::string& member, std::int64_t began,
                           std::int64_t ended, nb::object chunk, std::int64_t kind,
                           std::int64_t text) {
        hand_over(n.chunks(member), began, ended, chunk, kind, text);
      }, nb::arg(), nb::arg(), nb::arg(), nb::arg().none(), nb::arg(), nb::arg())
      .def("pop_chunk", [](NativeController& n, const std::string& member) -> nb::object {
        TakenChunk taken;
        if (!n.chunks(member).pop_chunk(taken)) return none();
        return nb::make_tuple(taken.sequence, taken.time_ns, taken.first_tick, taken.tick);
      })
      .def("swings", [](NativeController& n, const std::string& member) {
        const auto& swings = n.chunks(member).swings();
        return nb::make_tuple(tree_of(swings.values), swings.count);
      })
      .def("take_over", [](NativeController& n) {
        return static_cast<std::int64_t>(n.person().take_over(n.controller().mode()));
      })
      .def("hand_back", [](NativeController& n) {
        return static_cast<std::int64_t>(n.person().hand_back(n.controller().mode()));
      })
      .def("leader_problem", [](NativeController& n) {
        return tuple_of(n.person().failure());
      })
      .def("reason", [](NativeController& n) { return tuple_of(n.controller().reason()); })
      .def("restore", [](NativeController& n, nb::object tree, bool all) {
        restore(n.controller(), tree, all);
      }, nb::arg("tree"), nb::arg("all") = true)
      .def("saved", [](NativeController& n, bool whole) { return saved(n.controller(), whole); },
           nb::arg("whole") = true);
  nb::class_<NativeReader>(m, "NativeReader")
      .def(nb::init<NativeController&, std::size_t, std::int64_t>(), nb::keep_alive<1, 2>())
      .def("take", &NativeReader::take)
      .def("refused", &NativeReader::refused)
      .def("joint_problem", &NativeReader::joint_problem);
  nb::class_<NativeLoop>(m, "NativeLoop")
      .def(nb::init<nb::tuple, nb::list, std::uintptr_t, nb::bytes, std::size_t, std::int64_t,
                    std::size_t, std::uintptr_t>())
      .def("host", &NativeLoop::host)
      .def("start", [](NativeLoop& n) { n.loop().start(); })
      .def("stop", [](NativeLoop& n, std::int64_t timeout_ns) {
        nb::gil_scoped_release unlocked;
        return n.loop().stop(timeout_ns);
      })
      .def("lock", [](NativeLoop& n, std::int64_t timeout_ns) {
        nb::gil_scoped_release unlocked;
        return n.loop().mutex().try_lock_for(std::chrono::nanoseconds(timeout_ns));
      })
      .def("unlock", [](NativeLoop& n) { n.loop().mutex().unlock(); })
      .def("send_safe", [](NativeLoop& n, std::int64_t stamp_ns) {
        nb::gil_scoped_release unlocked;
        return n.loop().send_safe(stamp_ns);
      })
      .def("wait", [](NativeLoop& n, std::int64_t timeout_ns) {
        nb::gil_scoped_release unlocked;
        return n.loop().wait(timeout_ns);
      })
      .def("problem", &NativeLoop::problem)
      .def_prop_ro("thread_id", [](NativeLoop& n) { return n.loop().thread_id(); })
      .def_prop_ro("ticks", [](NativeLoop& n) { return n.loop().ticks(); })
      .def_prop_ro("missed", [](NativeLoop& n) { return n.loop().missed(); })
      .def_prop_ro("ticked_ns", [](NativeLoop& n) { return n.loop().ticked_ns(); })
      .def_prop_ro("began_ns", [](NativeLoop& n) { return n.loop().began_ns(); });
  // Same as `policy_core.estimation.velocity_estimator.VelocityEstimator`, from the part
  // `estimation` of a plan.
  nb::class_<VelocityEstimator>(m, "VelocityEstimator")
      .def(nb::new_(&estimator_of))
      .def("restart", &VelocityEstimator::restart)
      .def("update", &update)
      .def_prop_ro("lin_vel_body", [](const VelocityEstimator& e) {
        auto velocity = e.lin_vel_body();
        return copied({velocity.data(), velocity.size()}, {});
      })
      .def_prop_ro("variance", &VelocityEstimator::variance)
      .def_prop_ro("standing", [](const VelocityEstimator& e) {
        nb::list found;
        for (double stance : e.standing()) found.append(stance);
        return found;
      })
      .def_prop_ro("support", &VelocityEstimator::support)
      .def_prop_ro("height_m", &VelocityEstimator::height_m);
  nb::class_<NativeEncoder>(m, "NativeEncoder")
      .def(nb::init<nb::bytes, std::size_t>())
      .def("encode", &NativeEncoder::encode);
}
