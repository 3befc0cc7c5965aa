// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#include "policy_core/words.hpp"

#include <array>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <initializer_list>

namespace policy_core {
namespace {

using Code = Reason::Code;

/// Value for a placeholder of a text.
struct Gap {
  enum class Kind { kNumber, kCount, kText };

  Gap(const char* gap, double value) : name(gap), kind(Kind::kNumber), number(value) {}
  Gap(const char* gap, std::int64_t value) : name(gap), kind(Kind::kCount), count(value) {}
  Gap(const char* gap, std::string value)
      : name(gap), kind(Kind::kText), text(std::move(value)) {}

  const char* name;
  Kind kind;
  double number = 0.0;
  std::int64_t count = 0;
  std::string text;
};

std::string formatted(const Gap& gap, const std::string& form) {
  if (gap.kind == Gap::Kind::kText) return gap.text;
  if (gap.kind == Gap::Kind::kCount) return std::to_string(gap.count);
  // The format specifiers that Python and C interpret equally; a plan may contain anything.
  const bool is_known = !form.empty() && form.size() <= 4 &&
                        form.find_first_not_of("+.0123456789") == form.size() - 1 &&
                        std::strchr("fg", form.back());
  std::array<char, 512> text;
  std::snprintf(text.data(), text.size(), ("%" + (is_known ? form : "g")).c_str(), gap.number);
  return text.data();
}

/// Fills the placeholders of a text, as `str.format` does.
std::string filled(const std::string& text, std::initializer_list<Gap> gaps) {
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      out += c;
      ++i;
      continue;
    }
    const auto end = c == '{' ? text.find('}', i) : std::string::npos;
    if (end == std::string::npos) {
      out += c;
      continue;
    }
    const auto inside = text.substr(i + 1, end - i - 1);
    const auto colon = inside.find(':');
    const auto name = inside.substr(0, colon);
    const auto form = colon == std::string::npos ? "" : inside.substr(colon + 1);
    for (const auto& gap : gaps) {
      if (name == gap.name) out += formatted(gap, form);
    }
    i = end;
  }
  return out;
}

std::string joined(const std::vector<std::string>& parts, const char* between) {
  std::string out;
  for (const auto& part : parts) out += (out.empty() ? "" : between) + part;
  return out;
}

template <class Values>
const typename Values::value_type& at(const Values& values, std::int64_t place) {
  static const typename Values::value_type kNone{};
  const auto i = static_cast<std::size_t>(place);
  return place >= 0 && i < values.size() ? values[i] : kNone;
}

constexpr std::array<const char*, 34> kCommon = {
    "latched",       "recovered",      "pressed_too",   "age",           "age_limit",
    "refused_stamps", "input",         "input_problem", "request_refused",
    "latched_fault", "pressed",        "wrong_mode",    "far_off",       "held_elsewhere",
    "no_pose",       "fields_not_finite", "outside",    "silent",        "silent_asked",
    "member_late",   "member_not_finite", "failed",     "switched",      "of_member",
    "member_held",   "dropped_out",    "switch",        "given_up",      "instead",
    "same_state",    "no_transition",  "switch_refused", "still_blending",
    "clock_step"};

std::map<std::int64_t, std::vector<std::string>> by_code(const Part& plan) {
  std::map<std::int64_t, std::vector<std::string>> texts;
  for (std::int64_t code = 0; code <= static_cast<std::int64_t>(Code::kPolicyDrives); ++code) {
    const auto name = std::to_string(code);
    if (plan.has(name)) texts[code] = plan.texts(name);
  }
  return texts;
}

}  // namespace

Words::Words(const Table& table) {
  if (!Part(table).has_part("words")) {
    throw PlanError("plan: words: expected its texts, found none; make the plan with "
                    "`policy_inference controller-plan`");
  }
  const auto plan = Part(table).at("words");
  for (const auto* name : kCommon) common_[name] = plan.at("common").text(name);
  rules_ = plan.texts("rules");
  if (rules_.size() != kRules) throw PlanError("plan: words.rules: expected the name of each rule");
  joints_ = plan.texts("joints");
  fields_ = plan.texts("fields");
  members_ = plan.texts("members");
  states_ = plan.texts("states");
  why_ = plan.texts("why");
  stamps_ = plan.texts("stamps");
  clocks_ = plan.texts("clocks");
  for (const auto& input : Part(table).list("inputs")) {
    inputs_.push_back(input.text("name"));
    no_messages_.push_back(input.text("no_message"));
    timeouts_ns_.push_back(input.has("timeout_ns") ? Time(input.count("timeout_ns")) : Time());
  }
  reasons_ = by_code(plan.at("reasons"));
  for (std::size_t i = 0; i < std::max<std::size_t>(1, members_.size()); ++i) {
    chunks_.push_back(by_code(plan.at("chunks").at(std::to_string(i))));
  }
  const auto samples = plan.at("samples");
  beyond_position_ = samples.texts("position");
  beyond_velocity_ = samples.texts("velocity");
  jump_ = samples.texts("jump");
  unconfirmed_ = samples.text("unconfirmed");
  for (std::size_t from = 0; from < states_.size(); ++from) {
    checks_.emplace_back(states_.size());
    for (std::size_t to = 0; to < states_.size(); ++to) {
      const auto name = std::to_string(from) + "." + std::to_string(to);
      const auto part = plan.at("switches").at(name);
      if (!plan.at("switches").has_part(name)) continue;
      checks_[from][to] = {part.texts("ticks"), part.texts("off"),       part.texts("target"),
                           part.texts("speed"), part.texts("tilt"),      part.texts("body_rate"),
                           part.texts("command"), part.texts("phase")};
    }
  }
}

std::int64_t Words::number_of(const std::string& text) {
  const std::lock_guard lock(mutex_);
  const auto [found, is_new] =
      numbers_.emplace(text, static_cast<std::int64_t>(texts_.size()));
  if (is_new) texts_.push_back(text);
  return found->second;
}

std::int64_t Words::new_number() {
  const std::lock_guard lock(mutex_);
  texts_.emplace_back();
  return static_cast<std::int64_t>(texts_.size()) - 1;
}

void Words::set_text(std::int64_t number, const std::string& text) {
  const std::lock_guard lock(mutex_);
  texts_.at(static_cast<std::size_t>(number)) = text;
}

void Words::set_model_error(std::int64_t member, const std::string& text) {
  const std::lock_guard lock(mutex_);
  model_errors_[member] = text;
}

std::string Words::text(std::int64_t number) const {
  const std::lock_guard lock(mutex_);
  return at(texts_, number);
}

const std::string& Words::state(std::int64_t state) const { return at(states_, state); }

const char* Words::mode(Mode mode) noexcept {
  constexpr std::array<const char*, 5> kModes = {"DAMP", "STAND", "READY", "RUN", "HOLD"};
  return kModes[static_cast<std::size_t>(mode)];
}

std::string Words::reason(const Reason& found) const {
  auto why = failure(found);
  if (found.latched_by >= 0) {
    why = filled(said("latched"), {{"rule", at(rules_, found.latched_by)}, {"why", why}});
  }
  if (found.recovered) why = filled(said("recovered"), {{"why", why}});
  if (found.estop >= 0) {
    why = filled(said("pressed_too"), {{"why", why}, {"estop", text(found.estop)}});
  }
  return why;
}

std::string Words::failure(const Reason& found) const {
  const auto why = because(found);
  if (found.code == Code::kSwitched) return why;
  if (found.is_drop_out) return filled(said("dropped_out"), {{"why", why}});
  const auto& member = at(members_, found.member);
  if (!std::isnan(found.held_s)) {
    return filled(said("member_held"),
                  {{"member", member}, {"held_s", found.held_s}, {"why", why}});
  }
  if (found.code == Code::kStale && found.member >= 0) {
    return filled(said("of_member"), {{"member", member}, {"why", why}});
  }
  return why;
}

std::string Words::because(const Reason& found) const {
  const auto code = static_cast<std::int64_t>(found.code);
  const auto texts = reasons_.find(code);
  std::string text;
  switch (found.code) {
    case Code::kText:
      return this->text(found.text);
    case Code::kFields:
      return joined(named(fields_, found.fields), ", ");
    case Code::kStale:
      return described(found.place, found);
    case Code::kModelError: {
      const std::lock_guard lock(mutex_);
      const auto error = model_errors_.find(found.member);
      return error == model_errors_.end() ? at(texts_, found.text) : error->second;
    }
    case Code::kSwitched:
      return filled(said("switched"), {{"begin", state(found.from)},
                                       {"end", state(found.to)},
                                       {"why", why(found)}});
    case Code::kLeaderSilent: {
      const auto input = described(found.place, found);
      if (std::isnan(found.a) || texts == reasons_.end()) return input;
      return filled(at(texts->second, 0), {{"input", input}});
    }
    case Code::kNoFrame:
    case Code::kFramesApart:
    case Code::kFrozenCamera: {
      const auto& chunk = at(chunks_, std::max<std::int64_t>(0, found.member));
      const auto cameras = chunk.find(code);
      if (cameras != chunk.end()) text = at(cameras->second, found.place);
      break;
    }
    case Code::kLeaderBeyond:
    case Code::kLeaderJump:
      if (texts != reasons_.end()) {
        const auto half = static_cast<std::int64_t>(texts->second.size() / 2);
        text = at(texts->second, found.place + (found.count ? half : 0));
      }
      break;
    default:
      if (texts != reasons_.end()) text = at(texts->second, 0);
  }
  // The clipping rules only, in the order in which they act.
  constexpr Rules kClipping = bit(Rule::kActionClip) | bit(Rule::kGainLimit) |
                              bit(Rule::kRelativeTarget) | bit(Rule::kTargetSpeed) |
                              bit(Rule::kEffort) | bit(Rule::kTargetStep) |
                              bit(Rule::kPositionLimit);
  return filled(text, {{"a", found.a},
                       {"b", found.b},
                       {"c", found.c},
                       {"count", found.count},
                       {"rules", joined(named(rules_, found.rules & kClipping), ", ")}});
}

std::string Words::described(std::int64_t place, const Reason& found) const {
  auto age = at(no_messages_, place);
  if (!std::isnan(found.a)) {
    age = filled(said("age"), {{"a", found.a * 1e-6}});
    const auto& timeout_ns = at(timeouts_ns_, place);
    if (timeout_ns && found.a > static_cast<double>(*timeout_ns)) {
      const auto limit = static_cast<double>(*timeout_ns) * 1e-6;
      age = filled(said("age_limit"), {{"age", age}, {"limit", limit}});
    }
  }
  std::vector<std::string> problems;
  if (found.text) problems.push_back(text(found.text));
  if (found.count) {
    problems.push_back(filled(said("refused_stamps"),
                              {{"count", found.count}, {"stamps", at(stamps_, found.stamps)}}));
  }
  return filled(said(problems.empty() ? "input" : "input_problem"),
                {{"name", at(inputs_, place)}, {"age", age}, {"problems", joined(problems, "; ")}});
}

std::string Words::why(const Reason& found) const {
  if (found.code == Code::kText) return text(found.text);
  if (found.why < Reason::Why::kLate) return at(why_, static_cast<std::int64_t>(found.why));
  std::string failed;
  if (found.why == Reason::Why::kLate) {
    failed = said("member_late");
  } else if (found.why == Reason::Why::kNotFinite) {
    failed = said("member_not_finite");
  } else {
    auto reason = found;
    reason.code = found.failed;
    failed = failure(reason);
  }
  return filled(said("failed"), {{"state", state(found.from)}, {"why", failed}});
}

std::string Words::input(Controller& controller, std::size_t place, std::int64_t now_ns) const {
  return described(static_cast<std::int64_t>(place),
                   stale_reason(controller.input(place), place, now_ns));
}

std::string Words::sample(const JointCheck::Problem& found) const {
  using Problem = JointCheck::Problem::Code;
  const auto joint = static_cast<std::int64_t>(found.place);
  switch (found.code) {
    case Problem::kNone:
      return "";
    case Problem::kBeyond:
      return filled(at(found.is_velocity ? beyond_velocity_ : beyond_position_, joint),
                    {{"a", found.found}, {"b", found.low}, {"c", found.high}});
    case Problem::kUnconfirmed:
      return filled(unconfirmed_, {{"count", found.count}, {"needed", found.needed}});
    default:
      return filled(at(jump_, joint), {{"a", found.found}, {"b", found.low}});
  }
}

std::vector<std::string> Words::named(const std::vector<std::string>& all,
                                      std::uint64_t bits) const {
  std::vector<std::string> found;
  for (std::size_t i = 0; i < all.size() && i < 64; ++i) {
    if (bits >> i & 1) found.push_back(all[i]);
  }
  return found;
}

std::vector<std::string> Words::unfit(const Controller::Problems& found,
                                      Controller& controller) const {
  std::vector<std::string> problems;
  for (std::size_t i = 0; i < inputs_.size() && i < 64; ++i) {
    if (found.inputs >> i & 1) problems.push_back(input(controller, i, controller.now()));
  }
  if (found.not_finite) {
    problems.push_back(filled(said("fields_not_finite"),
                              {{"fields", joined(named(fields_, found.not_finite), ", ")}}));
  }
  if (found.tilt_rad > 0.0) {
    problems.push_back(because(policy_core::because(Code::kTilt, found.tilt_rad)));
  }
  if (found.outside) {
    problems.push_back(
        filled(said("outside"), {{"joints", joined(named(joints_, found.outside), ", ")}}));
  }
  return problems;
}

std::string Words::refusal(const std::string& wanted, const Controller::Problems& found,
                           Controller& controller) const {
  std::vector<std::string> problems;
  if (found.latched) {
    problems.push_back(filled(said("latched_fault"), {{"why", reason(controller.reason())}}));
  } else if (found.pressed) {
    problems.push_back(filled(said("pressed"), {{"why", text(controller.pressed())}}));
  }
  if (found.wrong_mode) {
    problems.push_back(filled(said("wrong_mode"), {{"mode", mode(controller.mode())}}));
  }
  if (found.far_off) {
    problems.push_back(
        filled(said("far_off"), {{"joints", joined(named(joints_, found.far_off), ", ")}}));
  }
  auto* held = controller.safe_targets();
  const auto measured = controller.state().find("joint_pos");
  for (std::size_t i = 0; held && i < joints_.size() && i < 64; ++i) {
    if (!(found.held >> i & 1)) continue;
    problems.push_back(filled(said("held_elsewhere"), {{"joint", joints_[i]},
                                                       {"a", measured[i]},
                                                       {"b", held->position()[i]}}));
  }
  for (auto& problem : unfit(found, controller)) problems.push_back(std::move(problem));
  return filled(said("request_refused"),
                {{"wanted", wanted}, {"problems", joined(problems, "; ")}});
}

std::string Words::damp_refusal(const Controller::Problems& found, Controller& controller) const {
  const auto why =
      filled(said("no_pose"), {{"problems", joined(unfit(found, controller), "; ")}});
  return filled(said("request_refused"), {{"wanted", std::string("DAMP")}, {"problems", why}});
}

std::vector<std::string> Words::conditions(const Refusal& found, bool is_target) const {
  std::vector<std::string> problems;
  const auto& check = at(at(checks_, found.other), found.to);
  const auto add = [&](const std::vector<std::string>& texts, const double* values,
                       std::size_t size) {
    for (std::size_t i = 0; i < texts.size() && i < size; ++i) {
      if (texts[i].empty() || std::isnan(values[i])) continue;
      problems.push_back(filled(texts[i], {{"a", values[i]}}));
    }
  };
  if (is_target) {
    add(check.target, found.off.data(), found.off.size());
    return problems;
  }
  if (found.ticks >= 0) problems.push_back(filled(at(check.ticks, 0), {{"ticks", found.ticks}}));
  add(check.off, found.off.data(), found.off.size());
  add(check.speed, found.speed.data(), found.speed.size());
  add(check.tilt, &found.tilt, 1);
  add(check.body_rate, &found.body_rate, 1);
  add(check.command, found.command.data(), found.command.size());
  add(check.phase, &found.phase, 1);
  return problems;
}

std::vector<std::string> Words::switch_problems(const Refusal& found) const {
  using Problem = Refusal::Code;
  const auto& member = at(members_, found.member);
  switch (found.code) {
    case Problem::kBlending:
      return {filled(said("still_blending"), {{"state", state(found.other)}})};
    case Problem::kConditions:
      return conditions(found, false);
    case Problem::kModelError:
    case Problem::kStale:
      return {filled(said("of_member"), {{"member", member}, {"why", failure(found.failure)}})};
    case Problem::kNotFinite:
      return {filled(said("of_member"), {{"member", member}, {"why", said("member_not_finite")}})};
    default:
      return conditions(found, true);
  }
}

std::string Words::switch_refusal(const Refusal& found) const {
  using Problem = Refusal::Code;
  if (found.code == Problem::kNone) return "";
  if (found.code == Problem::kText) return text(found.failure.text);
  if (found.code == Problem::kInstead) {
    return filled(said("instead"), {{"to", state(found.to)}, {"other", state(found.other)}});
  }
  const auto words = filled(
      said("switch"), {{"to", state(found.to)}, {"problems", joined(switch_problems(found), "; ")}});
  if (!found.is_given_up) return words;
  return filled(said("given_up"), {{"refusal", words}, {"state", state(found.state)}});
}

std::string Words::ask_refusal(const Refusal& found, const std::string& asked,
                               PolicySet& policy_set) const {
  using Problem = Refusal::Code;
  if (found.code == Problem::kSame) return filled(said("same_state"), {{"to", asked}});
  if (found.code == Problem::kNoTransition) {
    std::vector<std::string> known;
    const auto& checks = at(checks_, policy_set.state());
    for (std::size_t i = 0; i < checks.size(); ++i) {
      if (!checks[i].ticks.empty()) known.push_back(states_[i]);
    }
    return filled(said("no_transition"), {{"state", state(policy_set.state())},
                                          {"known", known.empty() ? "none" : joined(known, ", ")},
                                          {"found", "'" + asked + "'"}});
  }
  return filled(said("switch_refused"),
                {{"to", asked}, {"problems", joined(switch_problems(found), "; ")}});
}

std::string Words::clock_step(Input::Stepped whose, std::int64_t step_ns) const {
  if (whose == Input::Stepped::kNone) return "";
  if (whose == Input::Stepped::kText) return text(step_ns);
  return filled(said("clock_step"), {{"whose", at(clocks_, static_cast<std::int64_t>(whose) - 1)},
                                     {"a", static_cast<double>(step_ns) * 1e-6}});
}

std::string Words::silence(Controller& controller) const {
  return silence(controller.safe_targets(), controller.was_asked_for_a_pose());
}

std::string Words::silence(bool is_pose_known, bool was_asked) const {
  if (is_pose_known) return "";
  return said(was_asked ? "silent_asked" : "silent");
}

}  // namespace policy_core
