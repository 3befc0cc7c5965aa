// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/chunk_exchange.hpp"

namespace policy_core {

ChunkExchange::ChunkExchange(const ChunkRequest& request_like, const Rows& chunk_like)
    : request_(request_like) {
  outcome_.chunk = chunk_like;
}

bool ChunkExchange::is_busy() const noexcept {
  // In the order in which a request passes through these stages, so that it is never missed.
  return slot_ != Slot::kEmpty || computes_ || finished_;
}

void ChunkExchange::ask(const ChunkRequest& request) noexcept {
  drop_request();
  // The slot can be in use only while a state is restored, between two ticks.
  while (slot_ == Slot::kRead) {
  }
  request_ = request;
  slot_ = Slot::kFull;
  send(Event::kAsked);
}

void ChunkExchange::forget() noexcept {
  drop_request();
  send(Event::kForgotten);
}

const ChunkOutcome* ChunkExchange::outcome() noexcept {
  if (!finished_) send(Event::kAwaited);
  return finished_ ? &outcome_ : nullptr;
}

void ChunkExchange::drop_request() noexcept {
  auto full = Slot::kFull;
  slot_.compare_exchange_strong(full, Slot::kEmpty);
}

bool ChunkExchange::fetch(ChunkRequest& into) noexcept {
  auto full = Slot::kFull;
  if (computes_ || finished_ || !slot_.compare_exchange_strong(full, Slot::kRead)) return false;
  into = request_;
  outcome_.generation = into.generation;
  outcome_.time_ns = into.sensed.time_ns;
  outcome_.continues = into.planned.count > 0;
  computes_ = true;
  slot_ = Slot::kEmpty;
  return true;
}

void ChunkExchange::hand_over() noexcept {
  finished_ = true;
  computes_ = false;
}

}  // namespace policy_core
