// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "connector.hpp"

#include <pthread.h>
#include <sched.h>
#include <signal.h>

namespace policy_client {
namespace {

/// Signals are for the application's threads, which started earlier.
class NoSignals {
 public:
  NoSignals() noexcept {
    sigset_t all;
    ::sigfillset(&all);
    ::pthread_sigmask(SIG_SETMASK, &all, &usual_);
  }
  ~NoSignals() { ::pthread_sigmask(SIG_SETMASK, &usual_, nullptr); }
  NoSignals(const NoSignals&) = delete;
  NoSignals& operator=(const NoSignals&) = delete;

 private:
  sigset_t usual_;
};

void wait_for(Bell& bell, Clock::time_point until) noexcept {
  pollfd rung{bell.get(), POLLIN, 0};
  poll_until(&rung, 1, until);
  bell.clear();
}

}  // namespace

Connector::Connector(const std::string& path, const Options& options, bool shared_memory)
    : patience_(options.answer_limit),
      work_(std::make_shared<Work>(path, options, shared_memory)) {
  const NoSignals while_it_starts;
  thread_ = std::thread([work = work_] {
    // Created by a real-time thread it would inherit that, and its closing would delay control.
    const sched_param usual{};
    ::pthread_setschedparam(::pthread_self(), SCHED_OTHER, &usual);
    run(*work);
  });
}

Connector::~Connector() {
  work_->ending = true;
  work_->to_thread.ring();
  const auto until = Clock::now() + patience_;
  while (!work_->ended && Clock::now() < until) wait_for(work_->to_control, until);
  work_->ended ? thread_.join() : thread_.detach();
}

bool Connector::await(Clock::time_point until, bool through_pauses) noexcept {
  while (!has_link()) {
    if (work_->turn == Turn::pausing && !through_pauses) return false;
    if (Clock::now() >= until) return false;
    wait_for(work_->to_control, until);
  }
  return true;
}

void Connector::reconnect() noexcept {
  const bool at_once = link().pause().count() == 0;
  work_->turn.store(at_once ? Turn::connecting : Turn::pausing, std::memory_order_release);
  work_->to_thread.ring();
}

void Connector::retry() noexcept {
  if (has_link()) return link().retry();
  work_->hurried = true;
  work_->to_thread.ring();
}

void Connector::run(Work& work) noexcept {
  while (wait_for_turn(work)) {
    work.link.close();
    pause(work);
    if (work.ending) break;
    work.turn = Turn::connecting;
    work.link.connect(work.to_thread, work.ending);
    work.turn.store(Turn::control, std::memory_order_release);
    work.to_control.ring();
  }
  work.link.close();
  work.ended = true;
  work.to_control.ring();
}

/// Returns false when the source ends.
bool Connector::wait_for_turn(Work& work) noexcept {
  while (work.turn.load(std::memory_order_acquire) == Turn::control) {
    if (work.ending) return false;
    wait_for(work.to_thread, Clock::time_point::max());
  }
  return !work.ending;
}

void Connector::pause(Work& work) noexcept {
  const auto until = Clock::now() + work.link.pause();
  while (!work.ending && Clock::now() < until) {
    if (work.hurried.exchange(false)) return work.link.retry();
    wait_for(work.to_thread, until);
  }
}

}  // namespace policy_client
