// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/host.hpp"

#include <algorithm>
#include <cstring>

#include "policy_core/snapshot.hpp"

namespace policy_core {
namespace {

/// Ticks between stored states; a state is also stored after each change of mode.
constexpr std::int64_t kSnapshotTicks = 250;
/// Limit on the stored messages of a tick.
constexpr std::size_t kWireBytes = 16384;

std::uint8_t* note(const policy_core_tensor* tensors, std::size_t count,
                   std::uint8_t* into) noexcept {
  for (const auto* each = tensors; each != tensors + count; ++each) {
    std::memcpy(into, each->data, byte_count(*each));
    into += byte_count(*each);
  }
  return into;
}

}  // namespace

Host::Host(const Table& plan, const Models& models, ReadClock clock, void* context, Span memory,
           std::size_t slots, std::size_t sources)
    : controller_(std::make_unique<Controller>(plan, models, clock, context, memory)) {
  std::size_t inputs = 0, outputs = 0;
  for (const auto& [name, model] : models) {
    models_.push_back(model);
    for (std::size_t i = 0; i < model->input_count; ++i) inputs += byte_count(model->inputs[i]);
    for (std::size_t i = 0; i < model->output_count; ++i) outputs += byte_count(model->outputs[i]);
  }
  controller_->on_asked(
      [](void* self, bool has_answered) { static_cast<Host*>(self)->note_asked(has_answered); },
      this);
  const auto joints = controller_->target().size();
  Snapshot<false>::Bytes bytes{nullptr, 0};
  Snapshot<false> snapshot(bytes);
  controller_->visit(snapshot);
  slots_.resize(std::max<std::size_t>(slots, 1));
  for (auto& record : slots_) {
    record.state.resize(controller_->state().flat().size);
    record.seen.resize(record.state.size());
    record.target.resize(joints);
    record.authority.resize(joints);
    record.block.resize(6 * joints);
    record.inputs.resize(inputs);
    record.outputs.resize(outputs);
    record.born_ns.resize(controller_->input_count());
    record.measured_ns.resize(controller_->input_count());
    record.wire.resize(sources ? kWireBytes : 0);
    record.places.resize(sources);
    record.snapshot.resize(bytes.used);
  }
}

void Host::note_asked(bool has_answered) noexcept {
  auto& record = this->record();
  const auto state = controller_->state().flat();
  std::copy(state.begin(), state.end(), record.seen.begin());
  auto* inputs = record.inputs.data();
  for (const auto* model : models_) inputs = note(model->inputs, model->input_count, inputs);
  record.answered = has_answered;
  if (!has_answered) return;
  auto* outputs = record.outputs.data();
  for (const auto* model : models_) outputs = note(model->outputs, model->output_count, outputs);
}

void Host::begin(const DueTick& due) noexcept {
  auto& record = this->record();
  record.number = ticks_++;
  record.due = due;
  record.answered = false;
  record.refused = record.doubted = 0;
  std::fill(record.places.begin(), record.places.end(), Record::Place{0, 0});
}

void Host::keep(std::size_t source, const std::uint8_t* data, std::size_t size) noexcept {
  auto& record = this->record();
  std::size_t begin = 0;
  for (const auto& place : record.places) begin = std::max(begin, place.begin + place.size);
  if (begin + size > record.wire.size()) return;
  std::memcpy(record.wire.data() + begin, data, size);
  record.places[source] = {begin, size};
}

Targets* Host::tick() noexcept {
  auto& record = this->record();
  const auto& result = controller_->tick(record.due.now_ns, record.due.next_deadline_ns);
  record.mode = result.mode;
  record.reason = result.reason;
  record.asked = result.asked;
  record.begins = result.begins;
  record.taken = result.taken;
  record.blend = result.blend;
  record.clipped_ticks = result.clipped_ticks;
  note_sent(result.targets);
  return result.targets;
}

void Host::note_sent(Targets* targets) noexcept {
  auto& record = this->record();
  record.sent_mode = targets ? static_cast<std::int64_t>(targets->mode) : -1;
  if (targets) std::copy(targets->block().begin(), targets->block().end(), record.block.begin());
}

void Host::end(std::int64_t duration_ns, std::int64_t sequence) noexcept {
  auto& record = this->record();
  record.duration_ns = duration_ns;
  record.sequence = sequence;
  record.edges = controller_->edge_count();
  record.trips = controller_->trip_count();
  if (const auto& trip = controller_->trip()) record.trip = *trip;
  if (record.taken) {
    const auto& target = controller_->target();
    std::copy(target.begin(), target.end(), record.target.begin());
  }
  const auto& authority = controller_->authority().share();
  std::copy(authority.begin(), authority.end(), record.authority.begin());
  const auto state = controller_->state().flat();
  std::copy(state.begin(), state.end(), record.state.begin());
  if (!record.asked) record.seen = record.state;
  for (std::size_t i = 0; i < record.born_ns.size(); ++i) {
    record.born_ns[i] = controller_->input(i).born_ns();
    record.measured_ns[i] = controller_->input(i).measured_ns();
  }
  record.snapshot_bytes = 0;
  if (++since_snapshot_ >= kSnapshotTicks || record.mode != mode_) keep_snapshot(record);
  mode_ = record.mode;
  const auto made = made_.load(std::memory_order_relaxed);
  if (made + 1 - taken_.load(std::memory_order_acquire) >= slots_.size()) {
    lost_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  made_.store(made + 1, std::memory_order_release);
}

void Host::keep_snapshot(Record& record) noexcept {
  Snapshot<false>::Bytes bytes{record.snapshot.data(), record.snapshot.size()};
  Snapshot<false> snapshot(bytes);
  controller_->visit(snapshot);
  if (bytes.used > bytes.size) return;
  record.snapshot_bytes = bytes.used;
  since_snapshot_ = 0;
}

const Record* Host::oldest() const noexcept {
  const auto taken = taken_.load(std::memory_order_relaxed);
  if (taken == made_.load(std::memory_order_acquire)) return nullptr;
  return &slots_[taken % slots_.size()];
}

}  // namespace policy_core
