// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
// What a service does on purpose so that a tick does not return.
#include <doctest/doctest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <fstream>

#include "byte_stream.hpp"
#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

const std::vector<float> observation{1.0F, 2.0F, 4.0F};
const std::vector<float> expected{7.0F, 3.0F};

/// Options of a client in a control loop.
Options usual(const std::string& source) {
  Options options = options_for(source);
  options.timeout = 2ms;
  options.answer_limit = 100ms;
  return options;
}

std::size_t mapped_pages() {
  std::size_t pages = 0;
  std::ifstream("/proc/self/statm") >> pages;
  return pages;
}

}  // namespace

TEST_SUITE_BEGIN("hostile_service");

TEST_CASE("descriptors that take hours to close hold up neither a tick nor the end") {
  // The first two come when the source is ready, the others while it connects.
  for (const std::string behaviour : {"unix:lingering", "unix:lingering_urgent",
                                      "shm:memory_says_lingering", "unix:lingering_welcome", "shm:memory_lingering"}) {
    CAPTURE(behaviour);
    const Limit limit(60);
    const std::size_t colon = behaviour.find(':') + 1;
    for (const bool ends : {false, true}) {
      CAPTURE(ends);
      Peer peer({behaviour.substr(colon), "honest"});
      auto source = make_policy_source(usual(behaviour.substr(0, colon) + peer.socket()));
      std::vector<float> action(2);
      const Status last = tick_until_said(*source, peer, "held", observation, action).status;
      CHECK(last == Status::disconnected);
      for (int i = 0; i < 20; ++i) {
        CHECK(source->tick(observation.data(), 1, action.data()).status == Status::disconnected);
      }
      if (ends) source.reset();
      peer.process().write_line("close them");
      if (ends) continue;
      tick_until(*source, Status::ok, observation, action);
      CHECK(action == expected);
    }
  }
}

TEST_CASE("a service that wakes without end holds up no tick") {
  const Limit limit(60);
  Peer peer({"memory_flood", "honest"});
  const auto source = make_policy_source(usual("shm:" + peer.socket()));
  std::vector<float> action(2);
  REQUIRE(source->connect(20s) == Status::ok);
  tick_until(*source, Status::late, observation, action);
  tick_until(*source, Status::disconnected, observation, action);
  tick_until(*source, Status::ok, observation, action);
  CHECK(action == expected);
}

TEST_CASE("a client outlasts more wakes than a socket has room for, read or not") {
  const Limit limit(100);
  for (const std::string behaviour : {"honest", "memory_deaf"}) {
    CAPTURE(behaviour);
    Peer peer({behaviour});
    const auto source = make_policy_source(options_for("shm:" + peer.socket()));
    std::vector<float> action(2);
    REQUIRE(source->connect(20s) == Status::ok);
    for (int i = 0; i < 2000; ++i) {
      REQUIRE(source->tick(observation.data(), i, action.data()).status == Status::ok);
    }
  }
}

TEST_CASE("looking without sleeping ends with the time of a tick") {
  const Limit limit(60);
  for (const std::string transport : {"unix:", "shm:"}) {
    CAPTURE(transport);
    Peer peer({transport == "shm:" ? "memory_mute" : "mute"});
    Options options = usual(transport + peer.socket());
    options.spin = 1h;
    const auto source = make_policy_source(options);
    std::vector<float> action(2);
    REQUIRE(source->connect(20s) == Status::ok);
    CHECK(source->tick(observation.data(), 1, action.data()).status == Status::late);
  }
}

TEST_CASE("of vast memory only as much is mapped as is used") {
  Peer peer({"memory_vast"});
  const auto source = make_policy_source(usual("shm:" + peer.socket()));
  const std::size_t before = mapped_pages();
  REQUIRE(source->connect(20s) == Status::ok);
  CHECK((mapped_pages() - before) * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) < (1U << 28));
}

TEST_CASE("beyond the deadline no byte is read, however many there are") {
  TemporaryFolder folder;
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  folder.file("socket").copy(address.sun_path, sizeof(address.sun_path) - 1);
  const Descriptor listener(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* name = reinterpret_cast<const sockaddr*>(&address);
  REQUIRE(::bind(listener.get(), name, sizeof(address)) == 0);
  REQUIRE(::listen(listener.get(), 1) == 0);
  ByteStream stream(address.sun_path);
  Message message;
  REQUIRE(stream.open(message));
  const Descriptor service(::accept(listener.get(), nullptr, nullptr));
  REQUIRE(::send(service.get(), "some bytes", 10, 0) == 10);

  std::vector<std::byte> data(4);
  std::size_t count = 0;
  stream.keep_to(Clock::now() - 1ns);
  CHECK(stream.read(data.data(), data.size(), count, message) == Io::again);
  CHECK(stream.write(data.data(), data.size(), count, message) == Io::again);
  stream.keep_to(Clock::now() + 1h);
  CHECK(stream.read(data.data(), data.size(), count, message) == Io::done);
  CHECK(count == 4);
}

TEST_SUITE_END();
