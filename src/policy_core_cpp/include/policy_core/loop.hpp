// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <semaphore.h>

#include "policy_core/host.hpp"
#include "policy_core/messages.hpp"

namespace policy_core {

/// Addresses of the rcl functions that a loop uses, so that building it does not need ROS.
struct Middleware {
  /// Layout of rmw_serialized_message_t; the last five values are its rcutils_allocator_t.
  struct Message {
    std::uint8_t* buffer;
    std::size_t length, capacity;
    std::array<void*, 5> allocator;
  };
  using Take = int (*)(const void* subscription, Message* message, void* info, void* allocation);
  using Publish = int (*)(const void* publisher, const Message* message, void* allocation);
  using Add = int (*)(void* wait_set, const void* subscription, std::size_t* place);
  using Wait = int (*)(void* wait_set, std::int64_t timeout_ns);

  Take take;                            ///< rcl_take_serialized_message
  Publish publish;                      ///< rcl_publish_serialized_message
  void (*reset_error)();                ///< rcutils_reset_error
  int (*free_message)(Message*);        ///< rcutils_uint8_array_fini
  std::array<void*, 5> allocator;       ///< from rcutils_get_default_allocator
  int (*clear)(void* wait_set);         ///< rcl_wait_set_clear
  Add add;                              ///< rcl_wait_set_add_subscription
  Wait wait;                            ///< rcl_wait
};

/// Ticks a host on its own thread at absolute deadlines of the steady clock. Each tick takes the
/// newest messages, runs the controller, and publishes the targets. Missed deadlines are skipped.
class Loop {
 public:
  /// Index of a subscription whose first message after a deadline starts the tick, and a
  /// rcl_wait_set_t for it alone; null to start ticks at their deadlines.
  struct Trigger {
    std::size_t place = 0;
    void* wait_set = nullptr;
  };
  /// A host, and the readers of its samples with the indices of their subscriptions.
  struct Sampled {
    Host* host = nullptr;
    std::vector<std::pair<std::size_t, std::unique_ptr<MessageReader>>> readers;
  };

  /// `subscriptions` are rcl_subscription_t, and `publisher` is an rcl_publisher_t; like the wait
  /// set, they must outlive the loop.
  Loop(const Middleware& middleware, std::vector<const void*> subscriptions, const void* publisher,
       std::unique_ptr<CommandEncoder> encoder, std::int64_t period_ns, Trigger trigger);
  ~Loop();
  Loop(const Loop&) = delete;

  /// Ticks this host from now on; call it between ticks or before `start`.
  void host(std::shared_ptr<Sampled> sampled) noexcept;
  void start();
  /// Ends the thread; returns false if a tick hangs, so that it cannot be ended.
  bool stop(std::int64_t timeout_ns);
  std::recursive_timed_mutex& mutex() noexcept { return mutex_; }

  /// Sends the fault command, from any thread; returns its number, or -1 if none is known.
  std::int64_t send_safe(std::int64_t stamp_ns) noexcept;
  /// Waits for the end of the next tick; returns false if none ended in time.
  bool wait(std::int64_t timeout_ns) noexcept;

  std::int64_t thread_id() const noexcept { return thread_id_.load(); }
  std::int64_t ticks() const noexcept { return ticks_.load(std::memory_order_relaxed); }
  std::int64_t missed() const noexcept { return missed_.load(std::memory_order_relaxed); }
  /// When the last tick ended, on the steady clock.
  std::int64_t ticked_ns() const noexcept { return ticked_ns_.load(std::memory_order_relaxed); }
  /// When the tick in progress began, on the steady clock; 0 between ticks.
  std::int64_t began_ns() const noexcept { return began_ns_.load(std::memory_order_relaxed); }

 private:
  void run() noexcept;
  DueTick due(bool has_arrived) noexcept;
  bool arrives(std::int64_t until_ns) noexcept;
  bool take(std::size_t place, Middleware::Message& message) noexcept;
  void tick(const DueTick& due) noexcept;
  void sample(Host& host, const DueTick& due) noexcept;
  void note_safe() noexcept;
  std::int64_t send(Targets* targets, std::int64_t stamp_ns) noexcept;
  std::int64_t publish(const Targets& targets, std::int64_t stamp_ns) noexcept;

  Middleware middleware_;
  std::vector<const void*> subscriptions_;
  const void* publisher_;
  std::unique_ptr<CommandEncoder> encoder_;
  std::int64_t period_ns_, deadline_ns_ = 0;
  Trigger trigger_;
  Middleware::Message message_{}, held_{};
  bool is_held_ = false;
  std::shared_ptr<Sampled> sampled_;
  std::recursive_timed_mutex mutex_;
  /// The innermost lock; guards sending, the command number and the fault command.
  std::mutex sending_;
  std::int64_t sequence_ = 0;
  Targets safe_;
  bool is_safe_known_ = false;
  sem_t ticked_;
  std::atomic<bool> stop_{false}, ended_{true};
  std::atomic<std::int64_t> thread_id_{0}, ticks_{0}, missed_{0}, ticked_ns_{0},
      began_ns_{0};
  std::thread thread_;
};

}  // namespace policy_core
