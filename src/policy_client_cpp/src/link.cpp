// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "link.hpp"

#include <algorithm>
#include <cstring>

namespace policy_client {
namespace {

std::size_t value_bytes(std::uint32_t rows, std::uint32_t dim) {
  return sizeof(float) * std::size_t{rows} * dim;
}

/// With shared memory, a byte that wakes the other end.
constexpr std::byte wake_byte{0};

bool other(std::uint32_t asked, std::uint32_t found) { return asked != 0 && asked != found; }

}  // namespace

Link::Link(const std::string& path, const Options& options, bool shared_memory)
    : options_(options),
      shared_memory_(shared_memory),
      hello_(make_hello(options, shared_memory)),
      stream_(path),
      out_(std::max(hello_.size(), sizeof(Header) + value_bytes(options.rows, options.obs_dim))),
      in_(sizeof(Header) +
          std::max(most_text_bytes, value_bytes(options.rows, options.act_dim))),
      shared_answer_(shared_memory ? in_.size() : 0) {}

void Link::connect(Bell& wake, const std::atomic<bool>& ending) noexcept {
  const auto give_up_at = Clock::now() + options_.answer_limit;
  keep_to(give_up_at);
  stream_.take_descriptor_with_bytes(shared_memory_);
  open();
  while (!ending) {
    Frame frame;
    if (receive(frame)) judge_greeting(frame);
    if (state_ != State::greeting) break;
    if (Clock::now() >= give_up_at) {
      message_.set("%s: no greeting within %lld ms", options_.source.c_str(),
                   static_cast<long long>(options_.answer_limit.count()));
      drop();
      break;
    }
    pollfd both[] = {stream_.wanted(out_sent_ < out_size_), {wake.get(), POLLIN, 0}};
    poll_until(both, 2, give_up_at);
    wake.clear();
  }
  stream_.take_descriptor_with_bytes(false);
  // A failed connection is closed later, after the reason has been read.
  if (state_ == State::refused) close();
}

void Link::close() noexcept {
  memory_.detach();
  stream_.close();
}

void Link::open() noexcept {
  if (!stream_.open(message_)) return drop();
  std::memcpy(out_.data(), hello_.data(), hello_.size());
  out_size_ = hello_.size();
  out_sent_ = in_size_ = in_taken_ = 0;
  look_at_stream_ = true;
  state_ = State::greeting;
}

void Link::judge_greeting(const Frame& frame) noexcept {
  Welcome welcome;
  const std::size_t length = frame.header.length;
  if (frame.header.type == FrameType::error) {
    keep_error(frame);
    return is_final(static_cast<ErrorCode>(frame.header.rows)) ? refuse() : drop();
  }
  if (frame.header.type != FrameType::welcome || length > most_text_bytes ||
      !read_welcome(frame.payload, length, welcome)) {
    message_.set("%s: expected a WELCOME, found a frame of type %u and %zu bytes",
                 options_.source.c_str(), static_cast<unsigned>(frame.header.type), length);
    return drop();
  }
  if (other(options_.obs_dim, welcome.obs_dim) || other(options_.act_dim, welcome.act_dim) ||
      welcome.rows != options_.rows) {
    message_.set("%s: expected %u observations, %u actions and %u rows, found %u, %u and %u",
                 options_.source.c_str(), options_.obs_dim, options_.act_dim, options_.rows,
                 welcome.obs_dim, welcome.act_dim, welcome.rows);
    return refuse();
  }
  if (shared_memory_ && !memory_.attach(stream_.take_descriptor(), welcome, message_)) {
    return drop();
  }
  welcome_.assign(frame.payload, frame.payload + length);
  // A service that returns must offer the same policy.
  std::memcpy(hello_.data() + sizeof(Header), welcome.sha256.data(), welcome.sha256.size());
  look_at_stream_ = !shared_memory_;
  state_ = State::ready;
}

void Link::keep_to(Clock::time_point deadline) noexcept {
  deadline_ = deadline;
  stream_.keep_to(deadline);
}

void Link::send(const Header& header, const float* values) noexcept {
  if (shared_memory_) {
    if (!memory_.send(header, values)) return;
    out_[0] = wake_byte;
    out_size_ = 1;
  } else {
    std::memcpy(out_.data(), &header, sizeof(header));
    std::memcpy(out_.data() + sizeof(header), values, header.length);
    out_size_ = sizeof(header) + header.length;
  }
  out_sent_ = 0;
  flush();
}

void Link::flush() noexcept {
  while (out_sent_ < out_size_) {
    std::size_t count = 0;
    const Io io = stream_.write(out_.data() + out_sent_, out_size_ - out_sent_, count, message_);
    if (io == Io::again) return;
    // The next read finds that the connection is lost, and possibly an ERROR with the reason.
    out_sent_ = io == Io::failed ? out_size_ : out_sent_ + count;
  }
}

bool Link::receive(Frame& frame) noexcept {
  if (state_ != State::greeting && state_ != State::ready) return false;
  if (memory_.attached() && receive_from_memory(frame)) return true;
  flush();
  return look_at_stream_ && receive_from_stream(frame);
}

bool Link::receive_from_memory(Frame& frame) noexcept {
  const auto received = memory_.receive(shared_answer_.data(), shared_answer_.size());
  if (received == SharedMemory::Received::nothing) return false;
  if (received == SharedMemory::Received::broken) {
    message_.set("%s: an answer in shared memory that was not requested, or is too long",
                 options_.source.c_str());
    drop();
    return false;
  }
  std::memcpy(&frame.header, shared_answer_.data(), sizeof(Header));
  frame.payload = shared_answer_.data() + sizeof(Header);
  return is_sound(frame.header);
}

bool Link::receive_from_stream(Frame& frame) noexcept {
  std::memmove(in_.data(), in_.data() + in_taken_, in_size_ - in_taken_);
  in_size_ -= in_taken_;
  in_taken_ = 0;
  bool is_drained = false;
  while (true) {
    if (memory_.attached()) skip_wakes();
    if (in_size_ >= sizeof(Header)) {
      std::memcpy(&frame.header, in_.data(), sizeof(Header));
      if (!is_sound(frame.header)) return false;
      if (in_size_ >= sizeof(Header) + frame.header.length) {
        frame.payload = in_.data() + sizeof(Header);
        in_taken_ = sizeof(Header) + frame.header.length;
        return true;
      }
    }
    std::size_t count = 0;
    const std::size_t room = in_.size() - in_size_;
    const Io io = is_drained ? Io::again
                             : stream_.read(in_.data() + in_size_, room, count, message_);
    if (io == Io::failed) drop();
    if (io != Io::done) {
      // Beyond the deadline nothing was read.
      look_at_stream_ = !memory_.attached() || Clock::now() >= deadline_;
      return false;
    }
    in_size_ += count;
    is_drained = memory_.attached() && count < room;  // usually one byte: do not read again
  }
}

/// The byte that woke this end is not part of a frame; no frame begins with it.
void Link::skip_wakes() noexcept {
  std::size_t wakes = 0;
  while (wakes < in_size_ && in_[wakes] == wake_byte) ++wakes;
  std::memmove(in_.data(), in_.data() + wakes, in_size_ - wakes);
  in_size_ -= wakes;
}

bool Link::is_sound(const Header& header) noexcept {
  if (header.magic == frame_magic && header.version == protocol_version &&
      header.length <= in_.size() - sizeof(Header)) {
    return true;
  }
  message_.set("%s: not a frame of version %u: magic %08x, version %u, %u bytes",
               options_.source.c_str(), protocol_version, header.magic, header.version,
               header.length);
  drop();
  return false;
}

void Link::wait(Clock::time_point until, Clock::time_point spin_until) noexcept {
  pollfd stream = stream_.wanted(out_sent_ < out_size_);
  if (memory_.attached()) {
    memory_.wait(until, spin_until, stream);
    look_at_stream_ = look_at_stream_ || stream.revents != 0;
  } else if (Clock::now() >= spin_until) {
    poll_until(&stream, 1, until);
  }
}

void Link::drop() noexcept {
  pause_ = std::max(options_.retry_first, std::min(2 * pause_, options_.retry_most));
  state_ = State::down;
  out_sent_ = out_size_ = in_size_ = in_taken_ = 0;
}

void Link::refuse() noexcept {
  drop();
  state_ = State::refused;
}

void Link::retry() noexcept {
  if (state_ == State::refused) state_ = State::down;
  pause_ = {};
}

void Link::keep_error(const Frame& frame) noexcept {
  char text[256];
  const std::size_t length = std::min<std::size_t>(frame.header.length, sizeof(text));
  for (std::size_t i = 0; i < length; ++i) {
    const char c = static_cast<char>(frame.payload[i]);
    // Untrusted text must not control the terminal that shows the log; some obey bytes above 127.
    text[i] = c < ' ' || c > '~' ? ' ' : c;
  }
  message_.set("%s: %s: %.*s", options_.source.c_str(),
               to_string(static_cast<ErrorCode>(frame.header.rows)), static_cast<int>(length),
               text);
}

}  // namespace policy_client
