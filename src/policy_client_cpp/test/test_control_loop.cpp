// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <termios.h>
#include <unistd.h>

#include <chrono>

#include "support.hpp"

using namespace policy_client;
using namespace std::chrono_literals;

namespace {

/// `policy_inference serve` with the bundle that the example is for, ready.
class WalkService {
 public:
  WalkService()
      : child_({SERVICE_PYTHON, "-m", "policy_inference.commands.main", "serve", "--bundle",
                WALK_BUNDLE, "--framed-socket", folder_.file("walk.sock"), "--log-level",
                "error"}) {
    Options options;
    options.source = source();
    options.obs_dim = 45;
    options.act_dim = 12;
    REQUIRE(make_policy_source(options)->connect(60s) == Status::ok);
  }

  std::string source() const { return "unix:" + folder_.file("walk.sock"); }
  void kill() { CHECK(child_.end(SIGKILL) == SIGKILL); }

 private:
  TemporaryFolder folder_;
  Child child_;
};

/// Reads lines up to one that begins like this; false where there is none.
bool reads(Child& child, const std::string& begin) {
  for (std::string line = child.read_line(); !line.empty(); line = child.read_line()) {
    if (line.rfind(begin, 0) == 0) return true;
  }
  return false;
}

}  // namespace

TEST_SUITE_BEGIN("control_loop");

TEST_CASE("the example damps when the service is gone, and its status says so") {
  WalkService service;
  Child loop({CONTROL_LOOP, service.source(), "3"});
  // A machine that is busy may hold it up: then it has damped already.
  REQUIRE_FALSE(loop.read_line().empty());
  service.kill();
  CHECK(reads(loop, "DAMP: action is "));
  CHECK(reads(loop, "ends, damped"));
  CHECK(loop.wait() == 1);
}

TEST_CASE("the example damps on every signal that ends it") {
  WalkService service;
  for (const int signal : {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP}) {
    CAPTURE(signal);
    Child loop({CONTROL_LOOP, service.source(), "600"});
    REQUIRE_FALSE(loop.read_line().empty());
    loop.signal(signal);
    CHECK(reads(loop, "ends, damped"));
    CHECK(loop.wait() <= 1);
  }
}

TEST_CASE("the example goes on when its log cannot be read") {
  WalkService service;

  SUBCASE("because the terminal is stopped") {
    const int terminal = ::posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(::grantpt(terminal) == 0);
    REQUIRE(::unlockpt(terminal) == 0);
    const std::string name = ::ptsname(terminal);
    const int other_end = ::open(name.c_str(), O_RDWR | O_NOCTTY | O_CLOEXEC);
    REQUIRE(::tcflow(other_end, TCOOFF) == 0);
    Child loop({"/bin/sh", "-c", "exec \"$0\" \"$@\" >" + name + " 2>&1", CONTROL_LOOP,
                service.source(), "2"});
    CHECK(loop.wait() <= 1);
    ::close(other_end);
    ::close(terminal);
  }
  SUBCASE("because its reader is gone") {
    Child loop({CONTROL_LOOP, service.source(), "2"});
    REQUIRE_FALSE(loop.read_line().empty());
    loop.stop_reading();
    CHECK(loop.wait() <= 1);
  }
}

TEST_SUITE_END();
