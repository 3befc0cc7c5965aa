// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/loop.hpp"

#include <pthread.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>

namespace policy_core {
namespace {

constexpr std::int64_t kSecond = 1'000'000'000;
/// Interval at which a waiting loop checks if it must stop.
constexpr std::int64_t kSliceNs = 50'000'000;
constexpr int kTimeout = 2;  // RCL_RET_TIMEOUT

std::int64_t read(clockid_t clock) noexcept {
  timespec now{};
  clock_gettime(clock, &now);
  return now.tv_sec * kSecond + now.tv_nsec;
}

timespec timespec_of(std::int64_t ns) noexcept {
  return {static_cast<time_t>(ns / kSecond), static_cast<long>(ns % kSecond)};
}

void sleep_until(std::int64_t ns) noexcept {
  const auto until = timespec_of(ns);
  clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
}

/// The first entry of a rcl_wait_set_t, which begins with its subscriptions; null if there is no
/// message.
const void* ready_in(void* wait_set) noexcept { return **static_cast<const void***>(wait_set); }

}  // namespace

Loop::Loop(const Middleware& middleware, std::vector<const void*> subscriptions,
           const void* publisher, std::unique_ptr<CommandEncoder> encoder, std::int64_t period_ns,
           Trigger trigger)
    : middleware_(middleware),
      subscriptions_(std::move(subscriptions)),
      publisher_(publisher),
      encoder_(std::move(encoder)),
      period_ns_(period_ns),
      trigger_(trigger),
      safe_(encoder_->joints()) {
  message_.allocator = held_.allocator = middleware_.allocator;
  sem_init(&ticked_, 0, 0);
}

Loop::~Loop() {
  stop_ = true;
  if (thread_.joinable()) thread_.join();
  middleware_.free_message(&message_);
  middleware_.free_message(&held_);
  sem_destroy(&ticked_);
}

void Loop::host(std::shared_ptr<Sampled> sampled) noexcept { sampled_ = std::move(sampled); }

void Loop::start() {
  stop_ = ended_ = false;
  ticks_ = missed_ = 0;
  thread_id_ = 0;
  ticked_ns_ = read(CLOCK_MONOTONIC);
  {
    const std::lock_guard between(mutex_);
    const std::lock_guard requests(sampled_->host->mutex());
    const std::lock_guard sending(sending_);
    sequence_ = 0;
    note_safe();
  }
  thread_ = std::thread([this] { run(); });
  while (thread_id_.load() == 0) std::this_thread::yield();
}

bool Loop::stop(std::int64_t timeout_ns) {
  stop_ = true;
  sem_post(&ticked_);
  const auto end_ns = read(CLOCK_MONOTONIC) + timeout_ns;
  while (!ended_.load() && read(CLOCK_MONOTONIC) < end_ns) {
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  if (!ended_.load()) return false;
  if (thread_.joinable()) thread_.join();
  return true;
}

void Loop::run() noexcept {
  pthread_setname_np(pthread_self(), "control");  // for `top -H`
  thread_id_ = static_cast<std::int64_t>(syscall(SYS_gettid));
  deadline_ns_ = read(CLOCK_MONOTONIC);
  while (!stop_.load()) {
    const auto now_ns = read(CLOCK_MONOTONIC);
    if (now_ns < deadline_ns_) {
      sleep_until(std::min(deadline_ns_, now_ns + kSliceNs));
    } else {
      // At the latest a period after the deadline: a dead input must not stop the guard.
      const bool has_arrived = trigger_.wait_set && arrives(deadline_ns_ + period_ns_);
      const auto tick_due = due(has_arrived);
      began_ns_.store(tick_due.now_ns, std::memory_order_relaxed);
      tick(tick_due);
      began_ns_.store(0, std::memory_order_relaxed);
    }
  }
  ended_ = true;
}

DueTick Loop::due(bool has_arrived) noexcept {
  const auto now_ns = read(CLOCK_MONOTONIC), stamp_ns = read(CLOCK_REALTIME);
  const auto late_ns = now_ns - deadline_ns_;
  if (!trigger_.wait_set) {
    const auto missed = late_ns / period_ns_;
    deadline_ns_ += (missed + 1) * period_ns_;
    return {now_ns, deadline_ns_, stamp_ns, missed, late_ns};
  }
  // A tick without a message starts a period late, and uses up that deadline only.
  const auto missed = std::max<std::int64_t>(0, late_ns / period_ns_ - (has_arrived ? 0 : 1));
  if (has_arrived && late_ns > period_ns_ / 2) {
    // Deadlines half a period before the messages, so that their jitter does not make a tick wait
    // for the next message.
    deadline_ns_ = now_ns + period_ns_ / 2;
  } else {
    deadline_ns_ += (missed + 1) * period_ns_;
  }
  // A delay of less than a period is the wait for the message, not lateness.
  return {now_ns, now_ns + period_ns_, stamp_ns, missed, missed * period_ns_};
}

bool Loop::arrives(std::int64_t until_ns) noexcept {
  // A message before the deadline does not start the tick.
  is_held_ |= take(trigger_.place, held_);
  for (auto now_ns = read(CLOCK_MONOTONIC); now_ns < until_ns && !stop_.load();
       now_ns = read(CLOCK_MONOTONIC)) {
    const auto end_ns = std::min(until_ns, now_ns + kSliceNs);
    middleware_.clear(trigger_.wait_set);
    middleware_.add(trigger_.wait_set, subscriptions_[trigger_.place], nullptr);
    const auto status = middleware_.wait(trigger_.wait_set, end_ns - now_ns);
    if (status == 0 && ready_in(trigger_.wait_set)) return true;
    if (status == 0 || status == kTimeout) continue;
    middleware_.reset_error();
    sleep_until(end_ns);
  }
  return false;
}

void Loop::tick(const DueTick& due) noexcept {
  {
    const std::lock_guard between(mutex_);
    if (stop_.load()) return;
    auto& host = *sampled_->host;
    const std::lock_guard requests(host.mutex());
    host.begin(due);
    sample(host, due);
    auto* targets = host.tick();
    const auto sequence = send(targets, due.stamp_ns);
    host.end(read(CLOCK_MONOTONIC) - due.now_ns, sequence);
  }
  ticks_.fetch_add(1, std::memory_order_relaxed);
  missed_.fetch_add(due.missed, std::memory_order_relaxed);
  ticked_ns_.store(read(CLOCK_MONOTONIC), std::memory_order_relaxed);
  sem_post(&ticked_);
}

bool Loop::take(std::size_t place, Middleware::Message& message) noexcept {
  std::array<std::uint8_t, 256> info;  // rmw_message_info_t has 112 bytes
  if (middleware_.take(subscriptions_[place], &message, info.data(), nullptr) == 0) return true;
  middleware_.reset_error();
  return false;
}

void Loop::sample(Host& host, const DueTick& due) noexcept {
  std::uint64_t bit = 1;
  for (auto& [place, reader] : sampled_->readers) {
    const auto* message = take(place, message_)                   ? &message_
                          : is_held_ && place == trigger_.place ? &held_
                                                                : nullptr;
    if (message) {
      host.keep(place, message->buffer, message->length);
      const auto verdict =
          reader->take(message->buffer, message->length, {due.now_ns, due.stamp_ns});
      if (verdict == MessageVerdict::kRefused) host.record().refused |= bit;
      if (verdict == MessageVerdict::kDoubted) host.record().doubted |= bit;
    }
    bit <<= 1;
  }
  is_held_ = false;
}

void Loop::note_safe() noexcept {
  auto* safe = sampled_->host->controller().safe_targets();
  is_safe_known_ = safe;
  if (safe) std::copy(safe->block().begin(), safe->block().end(), safe_.block().begin());
}

std::int64_t Loop::send(Targets* targets, std::int64_t stamp_ns) noexcept {
  const std::lock_guard sending(sending_);
  note_safe();
  // After an e-stop only the fault command is sent, even if it was pressed after the tick.
  if (sampled_->host->controller().estop_pressed()) {
    targets = is_safe_known_ ? &safe_ : nullptr;
    sampled_->host->note_sent(targets);
  }
  return targets ? publish(*targets, stamp_ns) : -1;
}

std::int64_t Loop::send_safe(std::int64_t stamp_ns) noexcept {
  const std::lock_guard sending(sending_);
  return is_safe_known_ ? publish(safe_, stamp_ns) : -1;
}

std::int64_t Loop::publish(const Targets& targets, std::int64_t stamp_ns) noexcept {
  const auto& bytes = encoder_->encode(targets, stamp_ns, static_cast<std::uint64_t>(sequence_));
  const Middleware::Message message{const_cast<std::uint8_t*>(bytes.data()), bytes.size(),
                                    bytes.size(), middleware_.allocator};
  if (middleware_.publish(publisher_, &message, nullptr) != 0) middleware_.reset_error();
  return sequence_++;
}

bool Loop::wait(std::int64_t timeout_ns) noexcept {
  const auto until = timespec_of(read(CLOCK_REALTIME) + timeout_ns);
  return sem_timedwait(&ticked_, &until) == 0;
}

}  // namespace policy_core
