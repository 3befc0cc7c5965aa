// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "remote_source.hpp"

#include <cmath>
#include <cstring>

namespace policy_client {

RemoteSource::RemoteSource(std::unique_ptr<ByteStream> stream, const Options& options,
                           bool shared_memory)
    : options_(options), link_(std::move(stream), options, shared_memory) {}

Answer RemoteSource::tick(const float* observation, std::int64_t stamp_ns,
                          float* action) noexcept {
  const auto start = Clock::now();
  Answer answer;
  bool sent = false;
  bool stale = false;
  current_ = false;
  while (true) {
    link_.advance();
    if (link_.state() != Link::State::ready) owed_ = sent = false;
    Frame frame;
    while (link_.state() == Link::State::ready && link_.receive(frame)) {
      const Outcome outcome = take(frame, action);
      if (outcome == Outcome::no_answer) {
        answer.status = Status::error;
        return answer;
      }
      if (outcome == Outcome::nothing) continue;
      stale = outcome == Outcome::stale;
      answer = {stale ? Status::stale : Status::ok, stamp_ns_, frame.header.answered_ns};
      if (!stale) {
        link_.message().clear();
        return answer;
      }
    }
    if (link_.state() == Link::State::ready && !owed_) {
      send(observation, stamp_ns);
      sent = true;
    }
    const auto now = Clock::now();
    if (owed_ && now - owed_since_ > options_.answer_limit) {
      link_.message().set("%s: no answer within %lld ms", options_.source.c_str(),
                          static_cast<long long>(options_.answer_limit.count()));
      link_.drop();
    }
    const Link::State state = link_.state();
    if (state == Link::State::down || state == Link::State::refused) break;
    if (now - start >= options_.timeout) break;
    link_.wait(start + options_.timeout, start + options_.spin);
  }
  if (link_.state() != Link::State::ready) owed_ = false;
  if (!stale) answer.status = sent && owed_ ? Status::late : status_without_answer();
  explain(answer.status);
  return answer;
}

void RemoteSource::explain(Status status) noexcept {
  Message& message = link_.message();
  if (status == Status::stale) {
    message.clear();
  } else if (status == Status::late) {
    message.set("%s: no answer within %lld us", options_.source.c_str(),
                static_cast<long long>(options_.timeout.count()));
  } else if (status == Status::pending) {
    message.set("%s: the answer to an earlier observation is still owed", options_.source.c_str());
  } else if (*message.text() == '\0') {
    message.set("%s: not connected yet", options_.source.c_str());
  }
}

Status RemoteSource::status_without_answer() const noexcept {
  switch (link_.state()) {
    case Link::State::ready: return Status::pending;
    case Link::State::refused: return Status::refused;
    default: return Status::disconnected;
  }
}

void RemoteSource::send(const float* observation, std::int64_t stamp_ns) noexcept {
  Header header;
  header.type = FrameType::observation;
  header.flags = reset_ ? flag_reset : std::uint16_t{0};
  header.length =
      static_cast<std::uint32_t>(sizeof(float) * options_.rows * options_.obs_dim);
  header.rows = options_.rows;
  header.sequence = ++sequence_;
  header.stamp_ns = static_cast<std::uint64_t>(stamp_ns);
  stamp_ns_ = stamp_ns;
  link_.send(header, observation);
  reset_ = false;
  owed_ = current_ = true;
  owed_since_ = Clock::now();
}

RemoteSource::Outcome RemoteSource::take(const Frame& frame, float* action) noexcept {
  const bool current = current_;
  if (frame.header.type == FrameType::error) {
    if (!take_error(frame)) return Outcome::nothing;
    return current ? Outcome::no_answer : Outcome::nothing;
  }
  if (!take_action(frame, current || options_.deliver_stale ? action : nullptr)) {
    return Outcome::nothing;
  }
  if (current) return Outcome::answered;
  return options_.deliver_stale ? Outcome::stale : Outcome::nothing;
}

bool RemoteSource::take_error(const Frame& frame) noexcept {
  const auto code = static_cast<ErrorCode>(frame.header.rows);
  link_.keep_error(frame);
  if (closes_connection(code)) {
    link_.drop();
    return false;
  }
  const bool asked = owed_ && frame.header.sequence == sequence_;
  asked ? link_.answered() : link_.drop();
  owed_ = false;
  return asked;
}

bool RemoteSource::take_action(const Frame& frame, float* action) noexcept {
  const std::size_t count = std::size_t{options_.rows} * options_.act_dim;
  const Header& header = frame.header;
  if (header.type != FrameType::action || !owed_ || header.sequence != sequence_ ||
      header.stamp_ns != static_cast<std::uint64_t>(stamp_ns_) ||
      header.rows != options_.rows || header.length != count * sizeof(float)) {
    link_.message().set("%s: expected the action to observation %llu of %lld ns, found type %u, "
                        "sequence %llu of %llu ns, %u rows, %u bytes",
                        options_.source.c_str(), static_cast<unsigned long long>(sequence_),
                        static_cast<long long>(stamp_ns_), static_cast<unsigned>(header.type),
                        static_cast<unsigned long long>(header.sequence),
                        static_cast<unsigned long long>(header.stamp_ns), header.rows,
                        header.length);
    link_.drop();
    return false;
  }
  for (std::size_t i = 0; i < count; ++i) {
    float value = 0.0F;
    std::memcpy(&value, frame.payload + i * sizeof(float), sizeof(float));
    if (!std::isfinite(value)) {
      link_.message().set("%s: value %zu of the action is not finite", options_.source.c_str(), i);
      link_.drop();
      return false;
    }
  }
  if (action != nullptr) std::memcpy(action, frame.payload, header.length);
  link_.answered();
  owed_ = false;
  return true;
}

Status RemoteSource::connect(std::chrono::milliseconds limit) noexcept {
  const auto until = Clock::now() + limit;
  while (true) {
    link_.advance();
    if (link_.state() == Link::State::ready) {
      link_.message().clear();
      return Status::ok;
    }
    if (link_.state() == Link::State::refused) return Status::refused;
    if (Clock::now() >= until) return Status::disconnected;
    link_.wait(until, {});
  }
}

}  // namespace policy_client
