// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#if defined(TEST_WITH_OPENSSL)
#include <openssl/pem.h>
#endif

#include <fstream>
#include <limits>
#include <memory>

#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

const std::vector<float> observation{1.0F, 2.0F, 4.0F};
const std::vector<float> expected{7.0F, 4.0F};

/// Model and certificates, made once for all tests.
const TemporaryFolder& files() {
  static TemporaryFolder folder;
  static const bool made = [] {
    Child child({SERVICE_PYTHON, TEST_FOLDER "/service_files.py", folder.file("")});
    return child.wait() == 0;
  }();
  REQUIRE(made);
  return folder;
}

std::string free_port() {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = ::htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof(address);
  const int fd = ::socket(AF_INET, SOCK_STREAM, 0);
  REQUIRE(::bind(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0);
  REQUIRE(::getsockname(fd, reinterpret_cast<sockaddr*>(&address), &length) == 0);
  ::close(fd);
  return std::to_string(::ntohs(address.sin_port));
}

/// `policy_inference serve` with a framed socket and whatever else is asked.
class Service {
 public:
  explicit Service(std::vector<std::string> more = {})
      : child_(std::make_unique<Child>(command(std::move(more)))) {}

  std::string socket() const { return folder_.file("framed.sock"); }
  std::string file(const std::string& name) const { return folder_.file(name); }
  void kill() { CHECK(child_->end(SIGKILL) == SIGKILL); }
  void restart() { child_ = std::make_unique<Child>(command({})); }
  ~Service() noexcept(false) {
    if (child_->runs()) CHECK(child_->end(SIGTERM) == 0);
  }

 private:
  std::vector<std::string> command(std::vector<std::string> more) const {
    std::vector<std::string> all{SERVICE_PYTHON, "-m", "policy_inference.commands.main", "serve",
                                 "--model", files().file("model.onnx"), "--batch", "4",
                                 "--framed-socket", socket(), "--log-level", "error"};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  TemporaryFolder folder_;
  std::unique_ptr<Child> child_;
};

/// Connects and checks some answers.
void check_answers(const Options& options) {
  CAPTURE(options.source);
  const auto source = make_policy_source(options);
  const Status status = source->connect(60s);
  INFO(source->message());
  REQUIRE(status == Status::ok);
  CHECK(source->info().obs_dim == 3);
  std::vector<float> action(2);
  for (int i = 1; i <= 20; ++i) {
    const std::vector<float> changed{1.0F, 2.0F, static_cast<float>(i)};
    const Answer answer = source->tick(changed.data(), i, action.data());
    REQUIRE(answer.status == Status::ok);
    CHECK(answer.stamp_ns == i);
    CHECK(answer.answered_ns > 0);
    CHECK(action == std::vector<float>{3.0F + static_cast<float>(i), static_cast<float>(i)});
  }
}

void check_refusal(const Options& options, const std::string& reason) {
  const auto source = make_policy_source(options);
  CHECK(source->connect(60s) == Status::refused);
  INFO(source->message());
  CHECK(std::string(source->message()).find(reason) != std::string::npos);
}

}  // namespace

TEST_SUITE_BEGIN("service");

TEST_CASE("the service answers over a Unix socket, shared memory and TCP, and refuses others") {
  const std::string port = free_port();
  Service service({"--framed-tcp", "127.0.0.1:" + port});
  check_answers(options_for("unix:" + service.socket()));
  check_answers(options_for("tcp:localhost:" + port));
  check_answers(options_for("shm:" + service.socket()));
  Options spinning = options_for("shm:" + service.socket());
  spinning.spin = 200us;
  check_answers(spinning);

  SUBCASE("several robots are one inference") {
    Options options = options_for("shm:" + service.socket());
    options.rows = 4;
    const auto source = make_policy_source(options);
    REQUIRE(source->connect(20s) == Status::ok);
    const std::vector<float> four{1, 2, 4, 0, 0, 0, 5, 5, 5, -1, -2, -3};
    std::vector<float> action(8);
    REQUIRE(source->tick(four.data(), 0, action.data()).status == Status::ok);
    CHECK(action == std::vector<float>{7, 4, 0, 0, 15, 5, -6, -3});
  }
  SUBCASE("an observation that is not finite is an error of that observation only") {
    for (const std::string kind : {"unix:", "shm:"}) {
      const auto source = make_policy_source(options_for(kind + service.socket()));
      REQUIRE(source->connect(20s) == Status::ok);
      std::vector<float> action(2);
      const std::vector<float> bad{0.0F, std::numeric_limits<float>::quiet_NaN(), 0.0F};
      CHECK(source->tick(bad.data(), 0, action.data()).status == Status::error);
      CHECK(std::string(source->message()).find("OBSERVATION_NOT_FINITE") != std::string::npos);
      CHECK(source->tick(observation.data(), 0, action.data()).status == Status::ok);
      CHECK(action == expected);
    }
  }
  SUBCASE("a client of another policy, of other sizes or of too many robots is refused") {
    Options options = options_for("unix:" + service.socket());
    options.policy_sha256 = std::string(64, 'a');
    check_refusal(options, "OTHER_POLICY");
    options = options_for("unix:" + service.socket());
    options.act_dim = 3;
    check_refusal(options, "OTHER_POLICY");
    options = options_for("unix:" + service.socket());
    options.rows = 1000;
    check_refusal(options, "NOT_OFFERED");
    options = options_for("unix:" + service.socket());
    options.scaling = Scaling::physical;
    check_refusal(options, "NOT_OFFERED");
  }
  SUBCASE("the hash that the service states is one it takes") {
    const auto source = make_policy_source(options_for("unix:" + service.socket()));
    REQUIRE(source->connect(20s) == Status::ok);
    Options options = options_for("unix:" + service.socket());
    options.policy_sha256 = source->info().sha256;
    check_answers(options);
  }
}

TEST_CASE("a service that was killed and started again is found by itself") {
  Service service;
  for (const std::string kind : {"unix:", "shm:"}) {
    const auto source = make_policy_source(options_for(kind + service.socket()));
    REQUIRE(source->connect(60s) == Status::ok);
    std::vector<float> action(2);
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::ok);
    service.kill();
    CHECK(source->tick(observation.data(), 0, action.data()).status == Status::disconnected);
    service.restart();
    tick_until(*source, Status::ok, observation, action);
    CHECK(action == expected);
  }
}

TEST_CASE("TLS: the service is asked for its certificate, the client for its own") {
  if (std::string(available_sources()).find("tls") == std::string::npos) return;
  const std::string port = free_port();
  Service service({"--framed-tcp", "127.0.0.1:" + port, "--tls-cert", files().file("server.pem"),
                   "--tls-key", files().file("server.key"), "--tls-client-ca",
                   files().file("ca.pem")});
  Options options = options_for("tls:127.0.0.1:" + port);
  options.tls_ca = files().file("ca.pem");
  options.tls_cert = files().file("client.pem");
  options.tls_key = files().file("client.key");
  check_answers(options);

#if defined(TEST_WITH_OPENSSL)
  SUBCASE("an error that the application left in OpenSSL's queue is not this connection's") {
    const auto source = make_policy_source(options);
    REQUIRE(source->connect(60s) == Status::ok);
    std::vector<float> action(2);
    for (int i = 0; i < 20; ++i) {
      const std::unique_ptr<BIO, decltype(&BIO_free)> junk(BIO_new_mem_buf("x", 1), BIO_free);
      REQUIRE(PEM_read_bio_X509(junk.get(), nullptr, nullptr, nullptr) == nullptr);
      const Answer answer = source->tick(observation.data(), i, action.data());
      INFO(source->message());
      REQUIRE(answer.status == Status::ok);
    }
  }
#endif

  const auto check_failure = [](Options given, const std::string& reason) {
    given.retry_first = given.retry_most = 1h;
    const auto source = make_policy_source(given);
    std::string said;
    do {
      CHECK(source->connect(5ms) == Status::disconnected);
      said = source->message();
    } while (said.find("not connected yet") != std::string::npos);
    CAPTURE(said);
    CHECK(said.find(reason) != std::string::npos);
  };
  Options other = options;
  other.tls_ca = files().file("other_ca.pem");
  check_failure(other, "is not trusted");
  other = options;
  other.server_name = "robot.example";
  check_failure(other, "the certificate of 'robot.example' is not trusted");
  other = options;
  other.tls_cert.clear();
  other.tls_key.clear();
  check_failure(other, "tls:127.0.0.1");
}

TEST_CASE("a token is asked for, and a wrong one refused") {
  TemporaryFolder folder;
  const std::string file = folder.file("token");
  std::ofstream(file) << "a token of some length, 0123456789abcdef\n";
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  Service service({"--token-file", file});
  Options options = options_for("unix:" + service.socket());
  options.token = "a token of some length, 0123456789abcdef";
  check_answers(options);
  options.token = "another";
  check_refusal(options, "NOT_ALLOWED");
  options.token.clear();
  check_refusal(options, "NOT_ALLOWED");
}

TEST_SUITE_END();
