// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/messages.hpp"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace policy_core {
namespace {

constexpr std::size_t kStart = 4;  ///< position of the first value
constexpr std::size_t kRefusedBytes = 64 * 1024, kHeadBytes = 16 * 1024;
constexpr std::int64_t kSecondNs = 1'000'000'000;
// Layout of policy_msgs/JointCommand: stamp, sequence, valid_for, mode; then names and six arrays,
// each of which begins with its count. A count takes 8 bytes, since numbers are aligned.
constexpr std::size_t kSequenceAt = 12, kModeAt = 28, kRows = 6, kCountBytes = 8;
/// Same as `policy_core.bundle.body.PERCEIVED_LABEL`: begins the label of a contract's values.
constexpr std::string_view kLabel = "contract:";
// Explained in `policy_core.bundle.state_fields`.
constexpr double kShortest = 0.9, kLongest = 1.1;

template <class T>
T load(const std::uint8_t* from, bool is_swapped) noexcept {
  std::uint8_t bytes[sizeof(T)];
  std::memcpy(bytes, from, sizeof bytes);
  if (is_swapped) std::reverse(bytes, bytes + sizeof bytes);
  T value;
  std::memcpy(&value, bytes, sizeof bytes);
  return value;
}

/// Valid if Python decodes it: no surrogates, no overlong encodings.
bool is_utf8(std::string_view text) noexcept {
  const auto* at = reinterpret_cast<const std::uint8_t*>(text.data());
  const auto* end = at + text.size();
  while (at != end) {
    const auto first = *at++;
    if (first < 0x80) continue;
    if (first < 0xC2 || first > 0xF4) return false;
    const auto more = first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
    if (end - at < more) return false;
    const auto low = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
    const auto high = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
    if (*at < low || *at > high) return false;
    for (int i = 1; i < more; ++i) {
      if ((at[i] & 0xC0) != 0x80) return false;
    }
    at += more;
  }
  return true;
}

/// Numbers within a message.
template <class T>
struct Values {
  const std::uint8_t* data = nullptr;
  std::size_t size = 0;
  bool is_swapped = false;

  T operator[](std::size_t i) const noexcept { return load<T>(data + i * sizeof(T), is_swapped); }
};

}  // namespace

/// Reads values from a message. Past its end all are zero or empty, and `ok` is false.
class Cdr {
 public:
  Cdr(const std::uint8_t* data, std::size_t size) noexcept : data_(data), size_(size) {
    ok_ = size >= kStart && data[0] == 0 && data[1] <= 1;
    is_swapped_ = ok_ && data[1] == 0;
  }

  bool ok() const noexcept { return ok_; }
  const std::uint8_t* here() const noexcept { return data_ + at_; }
  void fail() noexcept { ok_ = false; }

  template <class T>
  T value() noexcept {
    const auto* from = take(1, sizeof(T));
    return from ? load<T>(from, is_swapped_) : T{};
  }

  /// A number of values, or an array of them.
  template <class T>
  Values<T> values(std::size_t count) noexcept {
    const auto* from = take(count, sizeof(T));
    return {from, from ? count : 0, is_swapped_};
  }
  template <class T>
  Values<T> array() noexcept {
    const auto count = value<std::uint32_t>();
    return count ? values<T>(count) : Values<T>{};
  }

  /// A string without the zero byte at its end.
  std::string_view text() noexcept {
    const auto length = value<std::uint32_t>();
    const auto* from = take(length, 1);
    return from && length ? std::string_view(reinterpret_cast<const char*>(from), length - 1)
                          : std::string_view();
  }

  /// Skips a string; returns true if it has any character, as ROS decoders count them.
  bool skip_text() noexcept {
    const auto length = value<std::uint32_t>();
    const auto* from = take(length, 1);
    return from && (length > 1 || (length == 1 && *from != 0));
  }

  /// The stamp of a header; none if it is zero.
  Time stamp() noexcept {
    const auto sec = value<std::int32_t>();
    const auto ns = sec * kSecondNs + value<std::uint32_t>();
    return ns ? Time(ns) : Time();
  }

  /// Skips bytes if they equal these.
  bool skip(const std::vector<std::uint8_t>& bytes) noexcept {
    if (!ok_ || size_ - at_ < bytes.size()) return false;
    if (std::memcmp(data_ + at_, bytes.data(), bytes.size()) != 0) return false;
    at_ += bytes.size();
    return true;
  }

 private:
  const std::uint8_t* take(std::size_t count, std::size_t size) noexcept {
    const auto at = at_ + (size - (at_ - kStart) % size) % size;
    ok_ = ok_ && at <= size_ && count <= (size_ - at) / size;
    if (!ok_) return nullptr;
    at_ = at + count * size;
    return data_ + at;
  }

  const std::uint8_t* data_;
  std::size_t size_, at_ = kStart;
  bool ok_, is_swapped_;
};

namespace {

/// sensor_msgs/JointState by names; their order is resolved again only when their bytes change.
class JointsReader final : public MessageReader {
 public:
  JointsReader(const Part& plan, Controller& controller, std::int64_t problem)
      : MessageReader(plan, controller, problem),
        names_(plan.texts("names")),
        places_(names_.size()),
        is_checked_(plan.flag("is_checked")) {
    bind(plan, "position", position_);
    bind(plan, "velocity", velocity_);
    if (is_checked_ && !position_.out.size) throw PlanError("plan: joints without positions");
    head_.reserve(kHeadBytes);
  }

 private:
  struct Array {
    Span out;
    Numbers taken;
    Values<double> found;
  };

  void bind(const Part& plan, const char* name, Array& array) {
    if (!plan.has(name)) return;
    array.out = field(plan.text(name));
    if (array.out.size != names_.size()) throw PlanError("plan: expected a value for each joint");
    array.taken.resize(names_.size());
  }

  bool decode(Cdr& cdr) noexcept override {
    stamp_ns_ = cdr.stamp();
    if (head_.empty() || !cdr.skip(head_)) find_names(cdr);
    position_.found = cdr.array<double>();
    velocity_.found = cdr.array<double>();
    return cdr.ok();
  }

  /// Locates each joint in frame and names, the head of the message.
  void find_names(Cdr& cdr) noexcept {
    const auto* begin = cdr.here();
    head_.clear();
    has_all_ = true;
    std::fill(places_.begin(), places_.end(), kNowhere);
    cdr.text();
    count_ = cdr.value<std::uint32_t>();
    for (std::size_t i = 0; i < count_ && cdr.ok(); ++i) {
      const auto name = cdr.text();
      if (!is_utf8(name)) cdr.fail();
      for (std::size_t joint = 0; joint < names_.size(); ++joint) {
        if (name != names_[joint]) continue;
        has_all_ = has_all_ && places_[joint] == kNowhere;
        places_[joint] = i;
      }
    }
    for (auto place : places_) has_all_ = has_all_ && place != kNowhere;
    const auto* end = cdr.here();
    // A longer head is not stored, and its names are resolved in each message. A stored head never
    // matches a message in the other byte order, whose lengths would be 64 KiB and more.
    if (cdr.ok() && static_cast<std::size_t>(end - begin) <= kHeadBytes) head_.assign(begin, end);
  }

  MessageVerdict judge(std::int64_t now_ns) noexcept override {
    for (auto* array : {&position_, &velocity_}) {
      if (!array->out.size) continue;
      if (!has_all_ || array->found.size != count_) return MessageVerdict::kRefused;
      for (std::size_t i = 0; i < places_.size(); ++i) array->taken[i] = array->found[places_[i]];
      if (!is_checked_ && !is_finite(array->taken)) return MessageVerdict::kRefused;
    }
    if (!is_checked_) return MessageVerdict::kAccepted;
    joint_problem_ = controller_.joint_check().judge(
        {position_.taken.data(), position_.taken.size()},
        {velocity_.taken.data(), velocity_.taken.size()}, now_ns);
    return joint_problem_.code == JointCheck::Problem::Code::kNone ? MessageVerdict::kAccepted
                                                                   : MessageVerdict::kDoubted;
  }

  void write(std::int64_t) noexcept override {
    for (auto* array : {&position_, &velocity_}) {
      std::copy(array->taken.begin(), array->taken.end(), array->out.begin());
    }
  }

  static constexpr auto kNowhere = static_cast<std::size_t>(-1);
  std::vector<std::string> names_;
  std::vector<std::size_t> places_;
  bool is_checked_, has_all_ = false;
  std::size_t count_ = 0;
  std::vector<std::uint8_t> head_;
  Array position_, velocity_;
};

/// A message of strings followed by float64 numbers only, some of which are used.
class NumbersReader : public MessageReader {
 public:
  NumbersReader(const Part& plan, Controller& controller, std::int64_t problem)
      : MessageReader(plan, controller, problem),
        is_stamped_(plan.flag("is_stamped")),
        strings_(plan.integer("strings")),
        size_(static_cast<std::size_t>(plan.integer("size"))) {
    for (auto place : plan.integers("places")) {
      places_.push_back(static_cast<std::size_t>(place));
      if (places_.back() >= size_) throw PlanError("plan: a number beyond the end of its message");
    }
  }

 protected:
  std::size_t size() const noexcept { return size_; }
  std::size_t used() const noexcept { return places_.size(); }
  double number(std::size_t i) const noexcept { return found_[i]; }
  double used(std::size_t i) const noexcept { return found_[places_[i]]; }

 private:
  bool decode(Cdr& cdr) noexcept final {
    if (is_stamped_) stamp_ns_ = cdr.stamp();
    for (std::int64_t i = 0; i < strings_; ++i) cdr.text();
    found_ = cdr.values<double>(size_);
    return cdr.ok();
  }

  bool is_stamped_;
  std::int64_t strings_;
  std::size_t size_;
  std::vector<std::size_t> places_;
  Values<double> found_;
};

/// Fields of the whole robot.
class RobotReader final : public NumbersReader {
 public:
  RobotReader(const Part& plan, Controller& controller, std::int64_t problem)
      : NumbersReader(plan, controller, problem) {
    std::size_t values = 0;
    for (const auto& name : plan.texts("fields")) {
      fields_.push_back(field(name));
      values += fields_.back().size;
    }
    if (values != used()) throw PlanError("plan: expected a number for each value of the fields");
    const auto& required = plan.text("required");
    required_ = required == "orientation" ? Required::kOrientation
                : required == "pose"      ? Required::kPose
                                          : Required::kNothing;
    if (required_ == Required::kNothing ? !required.empty() : size() < 7) {
      throw PlanError("plan: " + required + ": expected orientation, pose or nothing");
    }
  }

 private:
  enum class Required { kNothing, kOrientation, kPose };

  MessageVerdict judge(std::int64_t) noexcept override {
    bool fits = true;
    if (required_ == Required::kOrientation) {
      // First the orientation, then its covariance. The guard handles values that are not finite.
      const double norm = norm_at(0);
      fits = number(4) != -1.0 && (is_unit(norm) || !std::isfinite(norm));
    } else if (required_ == Required::kPose) {
      for (std::size_t i = 0; i < 3; ++i) fits = fits && std::isfinite(number(i));
      fits = fits && is_unit(norm_at(3));
    }
    return fits ? MessageVerdict::kAccepted : MessageVerdict::kRefused;
  }

  /// The length of the quaternion at an index.
  double norm_at(std::size_t first) const noexcept {
    double squares = 0.0;
    for (std::size_t i = first; i < first + 4; ++i) squares += number(i) * number(i);
    return std::sqrt(squares);
  }
  static bool is_unit(double norm) noexcept { return kShortest < norm && norm < kLongest; }

  void write(std::int64_t) noexcept override {
    std::size_t i = 0;
    for (const auto& field : fields_) {
      for (auto& value : field) value = used(i++);
    }
  }

  std::vector<Span> fields_;
  Required required_;
};

/// The velocity command, which fades in the controller.
class VelocityReader final : public NumbersReader {
 public:
  VelocityReader(const Part& plan, Controller& controller, std::int64_t problem)
      : NumbersReader(plan, controller, problem) {
    if (used() != 3) throw PlanError("plan: expected vx, vy and yaw rate");
    is_state_ = false;
  }

 private:
  MessageVerdict judge(std::int64_t) noexcept override {
    for (std::size_t i = 0; i < 3; ++i) {
      if (!std::isfinite(used(i))) return MessageVerdict::kRefused;
    }
    return MessageVerdict::kAccepted;
  }

  void write(std::int64_t now_ns) noexcept override {
    controller_.command().set({used(0), used(1), used(2)},
                              now_ns - input().age_ns(now_ns).value_or(0));
  }

  void reject() noexcept override { controller_.reject_command(); }
};

/// std_msgs/Float32MultiArray: an external vector.
class VectorReader final : public MessageReader {
 public:
  VectorReader(const Part& plan, Controller& controller, std::int64_t problem)
      : MessageReader(plan, controller, problem), out_(field(plan.text("field"))) {}

 private:
  bool decode(Cdr& cdr) noexcept override {
    const auto dimensions = cdr.value<std::uint32_t>();
    for (std::uint32_t i = 0; i < dimensions && cdr.ok(); ++i) {
      cdr.text();
      cdr.value<std::uint32_t>();
      cdr.value<std::uint32_t>();
    }
    cdr.value<std::uint32_t>();
    found_ = cdr.array<float>();
    return cdr.ok();
  }

  MessageVerdict judge(std::int64_t) noexcept override {
    return found_.size == out_.size ? MessageVerdict::kAccepted : MessageVerdict::kRefused;
  }

  void write(std::int64_t) noexcept override {
    for (std::size_t i = 0; i < out_.size; ++i) out_[i] = static_cast<double>(found_[i]);
  }

  Span out_;
  Values<float> found_;
};

/// policy_msgs/Perceived: a height scan, or the values of camera images.
class PerceivedReader final : public MessageReader {
 public:
  PerceivedReader(const Part& plan, Controller& controller, std::int64_t problem)
      : MessageReader(plan, controller, problem),
        out_(field(plan.text("field"))),
        label_(plan.text("label")) {}

 private:
  bool decode(Cdr& cdr) noexcept override {
    stamp_ns_ = cdr.stamp();
    // Up to the first zero byte, as ROS decoders do.
    const auto frame = cdr.text();
    const auto label = frame.substr(0, frame.find('\0'));
    is_of_another_ = label.substr(0, kLabel.size()) == kLabel && label != label_;
    cdr.stamp();  // of the map
    has_problem_ = cdr.skip_text();
    cdr.value<std::uint32_t>();
    found_ = cdr.array<double>();
    return cdr.ok();
  }

  MessageVerdict judge(std::int64_t) noexcept override {
    bool fits = !is_of_another_ && !has_problem_ && found_.size == out_.size;
    for (std::size_t i = 0; fits && i < out_.size; ++i) fits = std::isfinite(found_[i]);
    return fits ? MessageVerdict::kAccepted : MessageVerdict::kRefused;
  }

  void write(std::int64_t) noexcept override {
    for (std::size_t i = 0; i < out_.size; ++i) out_[i] = found_[i];
  }

  Span out_;
  std::string label_;
  bool is_of_another_ = false, has_problem_ = false;
  Values<double> found_;
};

Input& input_of(const Part& plan, Controller& controller) {
  const auto& name = plan.text("input");
  for (std::size_t i = 0; i < controller.input_count(); ++i) {
    if (controller.input(i).name() == name) return controller.input(i);
  }
  throw PlanError("plan: " + name + ": expected an input of the controller");
}

}  // namespace

std::unique_ptr<MessageReader> MessageReader::open(const Part& plan, Controller& controller,
                                                   std::int64_t problem) {
  const auto& kind = plan.text("kind");
  if (kind == "joints") return std::make_unique<JointsReader>(plan, controller, problem);
  if (kind == "robot") return std::make_unique<RobotReader>(plan, controller, problem);
  if (kind == "velocity") return std::make_unique<VelocityReader>(plan, controller, problem);
  if (kind == "vector") return std::make_unique<VectorReader>(plan, controller, problem);
  if (kind == "perceived") return std::make_unique<PerceivedReader>(plan, controller, problem);
  throw PlanError("plan: " + kind + ": expected joints, robot, velocity, vector or perceived");
}

MessageReader::MessageReader(const Part& plan, Controller& controller, std::int64_t problem)
    : controller_(controller), input_(input_of(plan, controller)), problem_(problem) {
  refused_.reserve(kRefusedBytes);
}

Span MessageReader::field(const std::string& name) {
  const auto found = controller_.state().find(name);
  if (!found.size) throw PlanError("plan: " + name + ": expected a field of the state");
  return found;
}

MessageVerdict MessageReader::take(const std::uint8_t* data, std::size_t size,
                                   const SampleTime& time) noexcept {
  Cdr cdr(data, size);
  auto verdict = MessageVerdict::kRefused;
  if (decode(cdr)) {
    const bool is_new = input_.is_new(stamp_ns_, time.now_ns);
    if (!is_new && !(is_state_ && time.repeated)) return MessageVerdict::kNotNew;
    verdict = judge(time.now_ns);
  }
  if (verdict == MessageVerdict::kAccepted) {
    input_.accept(time.now_ns, stamp_ns_, time.ros_now_ns);
    write(time.now_ns);
  } else {
    input_.reject(problem_);
    reject();
    refused_.assign(data, size <= kRefusedBytes ? data + size : data);
  }
  return verdict;
}

CommandEncoder::CommandEncoder(const Part& plan, std::size_t joints)
    : joints_(joints), values_at_(static_cast<std::size_t>(plan.integer("values_at"))) {
  const auto& kind = plan.text("kind");
  if (kind == "joint_command") {
    damp_mode_ = static_cast<std::uint8_t>(plan.integer("damp_mode"));
    rows_ = kRows;
  }
  is_stamped_ = is_joint_command() || kind == "joint_state";
  for (auto byte : plan.integers("message")) message_.push_back(static_cast<std::uint8_t>(byte));
  const auto first = is_joint_command() ? kModeAt + 1 : kSequenceAt;
  const auto needed = rows_ * row_bytes() - kCountBytes;
  if (values_at_ < first || message_.size() < needed || values_at_ > message_.size() - needed) {
    throw PlanError("plan: " + kind + ": expected a message for " + std::to_string(joints) +
                    " joints");
  }
}

const std::vector<std::uint8_t>& CommandEncoder::encode(const Targets& targets,
                                                        std::int64_t stamp_ns,
                                                        std::uint64_t sequence) noexcept {
  for (std::size_t row = 0; row < rows_; ++row) {
    std::memcpy(message_.data() + values_at_ + row * row_bytes(),
                targets.block().data() + row * joints_, joints_ * sizeof(double));
  }
  if (is_stamped_) {
    const auto nanosec = (stamp_ns % kSecondNs + kSecondNs) % kSecondNs;
    store(static_cast<std::int32_t>((stamp_ns - nanosec) / kSecondNs), kStart);
    store(static_cast<std::uint32_t>(nanosec), kStart + sizeof(std::int32_t));
  }
  if (is_joint_command()) {
    store(sequence, kSequenceAt);
    store(targets.mode == Mode::kDamp ? damp_mode_ : static_cast<std::uint8_t>(targets.mode),
          kModeAt);
  }
  return message_;
}

}  // namespace policy_core
