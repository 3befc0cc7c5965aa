// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
// Random bytes in the place of a service's, from fixed seeds; the address sanitizer looks on.
#include <doctest/doctest.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <random>
#include <thread>

#include "remote_source.hpp"
#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

constexpr std::uint32_t obs_dim = 3;
constexpr std::uint32_t act_dim = 2;

template <typename T>
void put(std::vector<std::byte>& bytes, std::size_t at, T value) {
  std::memcpy(bytes.data() + at, &value, sizeof(value));
}

std::vector<std::byte> frame(const Header& asked, FrameType type, std::size_t payload_bytes) {
  Header header = asked;
  header.type = type;
  header.flags = 0;
  header.length = static_cast<std::uint32_t>(payload_bytes);
  std::vector<std::byte> bytes(sizeof(header) + payload_bytes);
  put(bytes, 0, header);
  return bytes;
}

/// Answers as a service does, in pieces of any size, and now and then with other bytes.
class RandomService {
 public:
  explicit RandomService(unsigned seed)
      : random_(seed), listener_(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path().copy(address.sun_path, sizeof(address.sun_path) - 1);
    const auto* name = reinterpret_cast<const sockaddr*>(&address);
    REQUIRE(::bind(listener_.get(), name, sizeof(address)) == 0);
    REQUIRE(::listen(listener_.get(), 1) == 0);
    thread_ = std::thread([this] { serve(); });
  }
  /// The client must be gone.
  ~RandomService() {
    ::shutdown(listener_.get(), SHUT_RDWR);
    thread_.join();
  }
  RandomService(const RandomService&) = delete;
  RandomService& operator=(const RandomService&) = delete;

  std::string path() const { return folder_.file("random.sock"); }

 private:
  std::size_t below(std::size_t most) { return random_() % most; }

  void serve() {
    while (const Descriptor client{::accept(listener_.get(), nullptr, nullptr)}) {
      Header asked;
      std::byte payload[512];
      while (takes(client.get(), &asked, sizeof(asked)) &&
             takes(client.get(), payload, asked.length) && says(client.get(), answer(asked))) {
      }
    }
  }

  static bool takes(int client, void* data, std::size_t size) {
    return ::recv(client, data, size, MSG_WAITALL) == static_cast<ssize_t>(size);
  }

  /// False where it hangs up, or the client did.
  bool says(int client, const std::vector<std::byte>& bytes) {
    for (std::size_t sent = 0; sent < bytes.size();) {
      const std::size_t count = std::min(bytes.size() - sent, std::size_t{1} + below(64));
      if (::send(client, bytes.data() + sent, count, MSG_NOSIGNAL) < 0) return false;
      sent += count;
    }
    return below(64) != 0;
  }

  std::vector<std::byte> answer(const Header& asked) {
    std::vector<std::byte> bytes;
    if (asked.type == FrameType::hello) {
      bytes = frame(asked, FrameType::welcome, welcome_fixed_bytes + 6);
      put(bytes, 40 + 32, obs_dim);
      put(bytes, 40 + 36, act_dim);
      put(bytes, 40 + 40, std::uint32_t{1});
    } else {
      bytes = frame(asked, FrameType::action, act_dim * sizeof(float));
      // Any values: some of them are not finite.
      std::generate(bytes.begin() + sizeof(Header), bytes.end(),
                    [this] { return std::byte(below(256)); });
    }
    spoil(bytes);
    return bytes;
  }

  void spoil(std::vector<std::byte>& bytes) {
    if (below(3) == 0) return;
    for (std::size_t left = below(4); left > 0; --left) {
      // The header above all: the rest is numbers and texts.
      bytes[below(below(2) == 0 ? sizeof(Header) : bytes.size())] = std::byte(below(256));
    }
    if (below(8) != 0) return;
    bytes.resize(below(bytes.size() + 100));
    if (bytes.size() < sizeof(Header) || below(2) == 0) return;
    put(bytes, offsetof(Header, length), static_cast<std::uint32_t>(bytes.size() - sizeof(Header)));
  }

  TemporaryFolder folder_;
  std::mt19937 random_;
  Descriptor listener_;
  std::thread thread_;
};

/// Shared memory and a second look at it, which is the service's.
class ServiceMemory {
 public:
  static constexpr std::size_t answer_at = 256 + 64;
  static constexpr std::size_t bytes = answer_at + sizeof(Header) + 512;

  ServiceMemory() : memory_(::memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING)) {
    REQUIRE(::ftruncate(memory_.get(), bytes) == 0);
    REQUIRE(::fcntl(memory_.get(), F_ADD_SEALS, F_SEAL_SHRINK) == 0);
    at_ = static_cast<std::byte*>(
        ::mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, memory_.get(), 0));
    Welcome welcome;
    welcome.obs_dim = obs_dim;
    welcome.act_dim = act_dim;
    welcome.rows = 1;
    welcome.shared_bytes = bytes;
    Message message;
    const bool attached = client_.attach(Descriptor(::dup(memory_.get())), welcome, message);
    INFO(message.text());
    REQUIRE(attached);
  }
  ~ServiceMemory() { ::munmap(at_, bytes); }
  ServiceMemory(const ServiceMemory&) = delete;
  ServiceMemory& operator=(const ServiceMemory&) = delete;

  SharedMemory& client() { return client_; }
  int file() const { return memory_.get(); }

  template <typename T>
  void set(std::size_t offset, T value) {
    __atomic_store(reinterpret_cast<T*>(at_ + offset), &value, __ATOMIC_RELAXED);
  }

 private:
  Descriptor memory_;
  std::byte* at_ = nullptr;
  SharedMemory client_;
};

}  // namespace

TEST_SUITE_BEGIN("fuzz");

TEST_CASE("no bytes of a service are read beyond their end or believed where they are not sound") {
  const Limit limit(100);
  Options options = options_for("unix:random");
  options.timeout = 2ms;
  options.answer_limit = 4ms;
  std::size_t answered = 0;
  for (unsigned seed = 0; seed < 10; ++seed) {
    CAPTURE(seed);
    RandomService service(seed);
    RemoteSource source(service.path(), options, false);
    const std::vector<float> observation(obs_dim);
    for (int i = 0; i < 200; ++i) {
      std::vector<float> action(act_dim, -1.0F);
      source.connect(20ms);
      const Answer answer = source.tick(observation.data(), i, action.data());
      if (answer.status == Status::ok) {
        ++answered;
        REQUIRE(answer.stamp_ns == i);
        REQUIRE((std::isfinite(action[0]) && std::isfinite(action[1])));
      } else {
        REQUIRE(action == std::vector<float>(act_dim, -1.0F));
      }
      if (answer.status == Status::refused) source.retry();
      REQUIRE(source.info().joints.size() < most_text_bytes);
    }
  }
  CHECK(answered > 100);
}

TEST_CASE("an answer in memory that changes while it is read is never longer than its room") {
  ServiceMemory memory;
  std::atomic<bool> ends{false};
  std::thread other([&memory, &ends] {
    std::mt19937 random(1);
    while (!ends) {
      const auto any = static_cast<std::uint32_t>(random());
      const std::uint32_t lengths[] = {0, 8, 512, 513, 0xFFFFFFFF, any};
      memory.set(ServiceMemory::answer_at + 8, lengths[random() % 6]);
      memory.set(192, static_cast<std::uint32_t>(random() % 2));
    }
  });
  std::size_t frames = 0;
  const std::vector<float> values(obs_dim);
  Header header;
  header.length = obs_dim * sizeof(float);
  for (std::uint64_t i = 1; i <= 20000; ++i) {
    memory.client().send(header, values.data());
    memory.set(64, i % 7 == 0 ? i + 1 : i);
    // Of that size on the heap, where the address sanitizer sees each byte beyond it.
    std::vector<std::byte> room(sizeof(Header) + 300);
    if (memory.client().receive(room.data(), room.size()) == SharedMemory::Received::frame) {
      ++frames;
      Header found;
      std::memcpy(&found, room.data(), sizeof(found));
      REQUIRE(found.length <= 300);
    }
    if (i % 7 == 0) {
      memory.set(64, i);
      memory.client().receive(room.data(), room.size());
    }
  }
  ends = true;
  other.join();
  CHECK(frames > 100);
}

TEST_CASE("no page can be taken out of memory that is mapped") {
  ServiceMemory memory;
  CHECK(::fallocate(memory.file(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, 4096) == -1);
  CHECK(errno == EPERM);
}

TEST_SUITE_END();
