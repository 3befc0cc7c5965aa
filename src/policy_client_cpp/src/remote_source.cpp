// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "remote_source.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace policy_client {

RemoteSource::RemoteSource(const std::string& path, const Options& options, bool shared_memory)
    : options_(options), connector_(path, options, shared_memory) {}

Answer RemoteSource::tick(const float* observation, std::int64_t stamp_ns,
                          float* action) noexcept {
  const auto start = Clock::now();
  Answer answer;
  if (is_ready_by(start + options_.timeout, false)) {
    answer = exchange(observation, stamp_ns, action, start);
    if (connector_.link().state() == Link::State::down) give_link_away();
  } else {
    answer.status = status_without_link();
  }
  return answer;
}

/// Waits for a connection. Returns false, with a message, if none exists by `until`.
bool RemoteSource::is_ready_by(Clock::time_point until, bool through_pauses) noexcept {
  while (connector_.await(until, through_pauses)) {
    Link& link = connector_.link();
    if (link.state() == Link::State::refused) {
      message_ = link.message();
      return false;
    }
    if (link.state() == Link::State::ready) {
      if (!connected_) welcome_.swap(link.welcome());
      return connected_ = true;
    }
    give_link_away();
  }
  return false;
}

/// Lets the connector close the link and reconnect.
void RemoteSource::give_link_away() noexcept {
  message_ = connector_.link().message();
  owed_ = connected_ = false;
  connector_.reconnect();
}

Status RemoteSource::status_without_link() noexcept {
  if (*message_.text() == '\0') message_.set("%s: not connected yet", options_.source.c_str());
  return connector_.has_link() && connector_.link().state() == Link::State::refused
             ? Status::refused
             : Status::disconnected;
}

Answer RemoteSource::exchange(const float* observation, std::int64_t stamp_ns, float* action,
                              Clock::time_point start) noexcept {
  const auto until = start + options_.timeout;
  const auto spin_until = start + std::min(options_.spin, options_.timeout);
  Link& link = connector_.link();
  link.keep_to(until);
  Answer answer;
  answer.status = Status::pending;
  current_ = false;
  while (true) {
    Frame frame;
    while (link.receive(frame)) {
      const Outcome outcome = take(frame, action);
      if (outcome == Outcome::nothing) continue;
      if (outcome == Outcome::no_answer) {
        message_ = link.message();
        answer.status = Status::error;
        return answer;
      }
      answer = {outcome == Outcome::stale ? Status::stale : Status::ok, stamp_ns_,
                frame.header.answered_ns};
      message_.clear();
      if (outcome == Outcome::answered) return answer;
    }
    if (link.state() == Link::State::ready && !owed_) {
      send(observation, stamp_ns);
      if (answer.status != Status::stale) answer.status = Status::late;
    }
    const auto now = Clock::now();
    if (owed_ && now - owed_since_ > options_.answer_limit) {
      link.message().set("%s: no answer within %lld ms", options_.source.c_str(),
                         static_cast<long long>(options_.answer_limit.count()));
      link.drop();
    }
    if (link.state() != Link::State::ready || now >= until) break;
    link.wait(until, spin_until);
  }
  if (link.state() != Link::State::ready && answer.status != Status::stale) {
    answer.status = Status::disconnected;
  }
  explain(answer.status);
  return answer;
}

void RemoteSource::explain(Status status) noexcept {
  if (status == Status::late) {
    message_.set("%s: no answer within %lld us", options_.source.c_str(),
                 static_cast<long long>(options_.timeout.count()));
  } else if (status == Status::pending) {
    message_.set("%s: the answer to an earlier observation is still pending",
                 options_.source.c_str());
  }
}

PolicyInfo RemoteSource::info() const {
  return welcome_.empty() ? PolicyInfo{} : read_policy_info(welcome_.data(), welcome_.size());
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
  connector_.link().send(header, observation);
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
  connector_.link().keep_error(frame);
  if (closes_connection(code)) {
    connector_.link().drop();
    return false;
  }
  const bool asked = owed_ && frame.header.sequence == sequence_;
  asked ? connector_.link().answered() : connector_.link().drop();
  owed_ = false;
  return asked;
}

bool RemoteSource::take_action(const Frame& frame, float* action) noexcept {
  const std::size_t count = std::size_t{options_.rows} * options_.act_dim;
  const Header& header = frame.header;
  if (header.type != FrameType::action || !owed_ || header.sequence != sequence_ ||
      header.stamp_ns != static_cast<std::uint64_t>(stamp_ns_) ||
      header.rows != options_.rows || header.length != count * sizeof(float)) {
    connector_.link().message().set("%s: expected the action to observation %llu of %lld ns, found type %u, "
                        "sequence %llu of %llu ns, %u rows, %u bytes",
                        options_.source.c_str(), static_cast<unsigned long long>(sequence_),
                        static_cast<long long>(stamp_ns_), static_cast<unsigned>(header.type),
                        static_cast<unsigned long long>(header.sequence),
                        static_cast<unsigned long long>(header.stamp_ns), header.rows,
                        header.length);
    connector_.link().drop();
    return false;
  }
  for (std::size_t i = 0; i < count; ++i) {
    float value = 0.0F;
    std::memcpy(&value, frame.payload + i * sizeof(float), sizeof(float));
    if (!std::isfinite(value)) {
      connector_.link().message().set("%s: value %zu of the action is not finite", options_.source.c_str(), i);
      connector_.link().drop();
      return false;
    }
  }
  if (action != nullptr) std::memcpy(action, frame.payload, header.length);
  connector_.link().answered();
  owed_ = false;
  return true;
}

Status RemoteSource::connect(std::chrono::milliseconds limit) noexcept {
  if (!is_ready_by(Clock::now() + limit, true)) return status_without_link();
  message_.clear();
  return Status::ok;
}

}  // namespace policy_client
