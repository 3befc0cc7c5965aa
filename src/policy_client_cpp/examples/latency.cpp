// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
// Measures round trips to a service and, for comparison, of plain bytes over a Unix socket.
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fstream>
#include <functional>
#include <iostream>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

#include "policy_client/policy_source.hpp"

namespace {

const char usage[] =
    R"(policy_client_latency --source SOURCE --obs-dim N --act-dim M [options]
policy_client_latency --raw PATH --obs-dim N --act-dim M [options]
policy_client_latency --echo PATH --request-bytes N --reply-bytes M [options]
  --source     as Options::source: unix:PATH, shm:PATH, onnx:FILE or rknn:FILE
  --raw        a Unix socket of the raw float32 protocol
  --echo       a Unix socket that answers N bytes with M bytes
  --count      round trips (10000)         --warmup     round trips before them (100)
  --rate-hz    0: one right after the other (0)
  --rows       robots per observation (1)  --spin-us    look so long before sleeping (0)
  --timeout-us longest wait for one answer (1000000)
  --scaling    physical, scaled or normalised (scaled)
  --answer     action or target (action)   --value      each value of the observations (0)
  --samples    file for all round trips in us, one a line
Prints {"p50_us":..,"p99_us":..,"p999_us":..,"max_us":..,"count":..,"failed":..}; status 1 where
nothing was answered, 2 for a wrong command line or no connection.
)";

class Arguments {
 public:
  Arguments(int argc, char** argv) {
    for (int i = 1; i < argc; i += 2) {
      const std::string name = argv[i];
      if (name.rfind("--", 0) != 0 || i + 1 == argc) throw std::invalid_argument(usage);
      values_[name.substr(2)] = argv[i + 1];
    }
  }

  std::string text(const std::string& name, const std::string& preset = "") {
    const auto found = values_.find(name);
    if (found == values_.end()) return preset;
    const std::string value = found->second;
    values_.erase(found);
    return value;
  }

  double number(const std::string& name, double preset) {
    const std::string value = text(name);
    if (value.empty()) return preset;
    std::size_t used = 0;
    const double read = std::stod(value, &used);
    if (used != value.size() || read < 0) {
      throw std::invalid_argument("--" + name + ": expected a number, found '" + value + "'");
    }
    return read;
  }

  std::uint32_t whole(const std::string& name, double preset) {
    return static_cast<std::uint32_t>(number(name, preset));
  }

  std::uint16_t choice(const std::string& name, const std::vector<std::string>& choices,
                       std::uint16_t preset) {
    const std::string value = text(name, choices[preset]);
    const auto found = std::find(choices.begin(), choices.end(), value);
    if (found == choices.end()) {
      throw std::invalid_argument("--" + name + ": unknown value '" + value + "'");
    }
    return static_cast<std::uint16_t>(found - choices.begin());
  }

  void end() const {
    for (const auto& [name, value] : values_) throw std::invalid_argument("unknown --" + name);
  }

 private:
  std::map<std::string, std::string> values_;
};

std::int64_t now_ns() {
  timespec time{};
  ::clock_gettime(CLOCK_MONOTONIC, &time);
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

using RoundTrip = std::function<bool()>;

RoundTrip plain_bytes(const std::string& path, std::size_t request_bytes, std::size_t reply_bytes) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  if (path.size() >= sizeof(address.sun_path)) throw std::invalid_argument(path + ": too long");
  std::strcpy(address.sun_path, path.c_str());
  const int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    throw std::runtime_error(path + ": cannot connect: " + std::strerror(errno));
  }
  return [fd, request = std::vector<char>(request_bytes), reply = std::vector<char>(reply_bytes),
          closed = false]() mutable {
    std::size_t got = 0;
    if (!closed && ::send(fd, request.data(), request.size(), MSG_NOSIGNAL) ==
                       static_cast<ssize_t>(request.size())) {
      while (got < reply.size()) {
        const ssize_t count = ::recv(fd, reply.data() + got, reply.size() - got, 0);
        if (count <= 0) break;
        got += static_cast<std::size_t>(count);
      }
    }
    closed = got < reply.size();
    return !closed;
  };
}

RoundTrip over_source(Arguments& arguments, const std::string& name) {
  policy_client::Options options;
  options.source = name;
  options.obs_dim = arguments.whole("obs-dim", 0);
  options.act_dim = arguments.whole("act-dim", 0);
  options.rows = arguments.whole("rows", 1);
  options.spin = std::chrono::microseconds(arguments.whole("spin-us", 0));
  options.timeout = std::chrono::microseconds(arguments.whole("timeout-us", 1e6));
  options.answer_limit = std::chrono::milliseconds(options.timeout.count() / 1000 + 1000);
  options.scaling = static_cast<policy_client::Scaling>(
      arguments.choice("scaling", {"physical", "scaled", "normalised"}, 1));
  options.answer =
      static_cast<policy_client::AnswerKind>(arguments.choice("answer", {"action", "target"}, 0));
  const auto value = static_cast<float>(arguments.number("value", 0.0));
  std::shared_ptr<policy_client::PolicySource> source = policy_client::make_policy_source(options);
  if (source->connect(std::chrono::seconds(10)) != policy_client::Status::ok) {
    throw std::runtime_error(source->message());
  }
  return [source,
          observation = std::vector<float>(std::size_t{options.rows} * options.obs_dim, value),
          action = std::vector<float>(std::size_t{options.rows} * options.act_dim),
          said = false]() mutable {
    const auto answer = source->tick(observation.data(), now_ns(), action.data());
    const bool answered = answer.status == policy_client::Status::ok;
    if (!answered && !said) {
      std::cerr << policy_client::to_string(answer.status) << ": " << source->message() << '\n';
      said = true;
    }
    return answered;
  };
}

RoundTrip make_round_trip(Arguments& arguments) {
  const std::string echo = arguments.text("echo");
  if (!echo.empty()) {
    return plain_bytes(echo, arguments.whole("request-bytes", 0), arguments.whole("reply-bytes", 0));
  }
  const std::string raw = arguments.text("raw");
  if (!raw.empty()) {
    return plain_bytes(raw, sizeof(float) * arguments.whole("obs-dim", 0),
                       sizeof(float) * arguments.whole("act-dim", 0));
  }
  const std::string source = arguments.text("source");
  if (source.empty()) throw std::invalid_argument(usage);
  return over_source(arguments, source);
}

struct Measurement {
  std::vector<double> round_trips_us;
  std::size_t failed = 0;
};

Measurement measure(const RoundTrip& round_trip, std::size_t count, double rate_hz) {
  Measurement measured;
  measured.round_trips_us.reserve(count);
  const auto period_ns = rate_hz > 0 ? static_cast<std::int64_t>(1e9 / rate_hz) : 0;
  std::int64_t next_ns = now_ns();
  for (std::size_t i = 0; i < count; ++i) {
    if (period_ns > 0) {
      next_ns += period_ns;
      const timespec next{static_cast<time_t>(next_ns / 1'000'000'000),
                          static_cast<long>(next_ns % 1'000'000'000)};
      ::clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);
    }
    const std::int64_t sent_ns = now_ns();
    if (round_trip()) {
      measured.round_trips_us.push_back(static_cast<double>(now_ns() - sent_ns) / 1000.0);
    } else {
      ++measured.failed;
    }
  }
  return measured;
}

/// The smallest value that at least this share of all does not exceed.
double quantile(const std::vector<double>& sorted, double share) {
  const auto rank = static_cast<std::size_t>(share * static_cast<double>(sorted.size()));
  return sorted[std::min(rank, sorted.size() - 1)];
}

int report(Measurement measured, const std::string& samples_file) {
  if (!samples_file.empty()) {
    std::ofstream file(samples_file);
    for (const double value : measured.round_trips_us) file << value << '\n';
    if (!file.flush()) throw std::runtime_error(samples_file + ": cannot write");
  }
  auto& values = measured.round_trips_us;
  if (values.empty()) {
    std::cerr << "no answer to any of " << measured.failed << " requests\n";
    return 1;
  }
  std::sort(values.begin(), values.end());
  std::printf("{\"p50_us\": %.2f, \"p99_us\": %.2f, \"p999_us\": %.2f, \"max_us\": %.2f, "
              "\"count\": %zu, \"failed\": %zu}\n",
              quantile(values, 0.5), quantile(values, 0.99), quantile(values, 0.999),
              values.back(), values.size(), measured.failed);
  return 0;
}

}  // namespace

int main(int argc, char** argv) try {
  Arguments arguments(argc, argv);
  const std::size_t count = arguments.whole("count", 10000);
  const std::size_t warmup = arguments.whole("warmup", 100);
  const double rate_hz = arguments.number("rate-hz", 0);
  const std::string samples_file = arguments.text("samples");
  const RoundTrip round_trip = make_round_trip(arguments);
  arguments.end();
  measure(round_trip, warmup, rate_hz);
  return report(measure(round_trip, count, rate_hz), samples_file);
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 2;
}
