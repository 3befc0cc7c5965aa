// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_controllers/child.hpp"

#include <signal.h>
#include <spawn.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <stdexcept>
#include <thread>

namespace policy_controllers {
namespace {

constexpr auto kEndsWithin = std::chrono::seconds(5);
constexpr auto kLook = std::chrono::milliseconds(10);

/// Starts a program with `posix_spawn`, which is safe in a process with threads. The program keeps
/// `socket` open, has its own process group, which Ctrl-C in a terminal does not reach, and has no
/// blocked signals.
int spawn(pid_t& pid, char* const* words, int socket) {
  posix_spawn_file_actions_t files;
  posix_spawnattr_t attributes;
  sigset_t none;
  sigemptyset(&none);
  posix_spawn_file_actions_init(&files);
  // Duplicated onto itself, so that it is not closed when the program starts.
  posix_spawn_file_actions_adddup2(&files, socket, socket);
  posix_spawnattr_init(&attributes);
  posix_spawnattr_setsigmask(&attributes, &none);
  posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  const int error = posix_spawnp(&pid, words[0], &files, &attributes, words, environ);
  posix_spawnattr_destroy(&attributes);
  posix_spawn_file_actions_destroy(&files);
  return error;
}

}  // namespace

Child::Child(const std::vector<std::string>& words) {
  int ends[2];
  if (::socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) != 0) {
    throw std::runtime_error(std::string("expected a pair of sockets, found none: ") +
                             std::strerror(errno));
  }
  socket_ = ends[0];
  auto all = words;
  all.push_back("--channel=" + std::to_string(ends[1]));
  std::vector<char*> pointers;
  for (auto& word : all) pointers.push_back(word.data());
  pointers.push_back(nullptr);
  const int error = spawn(pid_, pointers.data(), ends[1]);
  ::close(ends[1]);
  if (error != 0) {
    ::close(socket_);
    throw std::runtime_error(words[0] + ": expected a program that starts, found: " +
                             std::strerror(error));
  }
}

Child::~Child() { end(); }

const std::string& Child::end() {
  if (!how_.empty()) return how_;
  ::close(socket_);
  socket_ = -1;
  int status = 0;
  const auto deadline = std::chrono::steady_clock::now() + kEndsWithin;
  while (::waitpid(pid_, &status, WNOHANG) == 0) {
    if (std::chrono::steady_clock::now() > deadline) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, &status, 0);
      break;
    }
    std::this_thread::sleep_for(kLook);
  }
  how_ = WIFEXITED(status) ? "status " + std::to_string(WEXITSTATUS(status))
                           : "signal " + std::to_string(WTERMSIG(status));
  return how_;
}

}  // namespace policy_controllers
