// SPDX-FileCopyrightText: 2026 The policy_inference authors
// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "policy_core/controller.hpp"
#include "policy_core/table.hpp"

namespace policy_core {

/// Makes words of the numbers of one controller, by the texts in the part `words` of its plan; the
/// twin of `policy_core.native.Words`. It allocates: never call it in a tick.
class Words {
 public:
  /// Throws PlanError where texts are missing.
  explicit Words(const Table& plan);

  /// The number by which a text is known to requests from now on; from any thread.
  std::int64_t number_of(const std::string& text);
  /// A number whose text is set again and again.
  std::int64_t new_number();
  void set_text(std::int64_t number, const std::string& text);
  std::string text(std::int64_t number) const;
  /// What a runtime said last, by member (-1: the only one); it replaces the text of its number.
  void set_model_error(std::int64_t member, const std::string& text);

  /// Why the mode is what it is.
  std::string reason(const Reason& found) const;
  /// How old an input is, and what is wrong with it.
  std::string input(Controller& controller, std::size_t place, std::int64_t now_ns) const;
  /// Why a sample of the joints cannot be true; empty where it is believed.
  std::string sample(const JointCheck::Problem& found) const;
  /// Why a motion (`STAND`, `RUN`) is refused.
  std::string refusal(const std::string& wanted, const Controller::Problems& found,
                      Controller& controller) const;
  /// Why DAMP is refused, where no pose is known.
  std::string damp_refusal(const Controller::Problems& found, Controller& controller) const;
  /// Why a switch does not begin, or waits; empty for `kNone`.
  std::string switch_refusal(const Refusal& found) const;
  /// Why a switch that was asked for is refused at once; `asked`: the name of the state.
  std::string ask_refusal(const Refusal& found, const std::string& asked,
                          PolicySet& policy_set) const;
  /// Why a set has switched.
  std::string why(const Reason& found) const;
  /// That a clock was set; empty where none was.
  std::string clock_step(Input::Stepped whose, std::int64_t step_ns) const;
  /// Why nothing is commanded; empty where something is.
  std::string silence(Controller& controller) const;
  std::string silence(bool is_pose_known, bool was_asked) const;
  /// Name of a rule, a mode, a state of a set; empty for the state -1.
  const std::string& rule(std::size_t rule) const { return rules_[rule]; }
  const std::string& state(std::int64_t state) const;
  const std::vector<std::string>& states() const noexcept { return states_; }

  static const char* mode(Mode mode) noexcept;

 private:
  /// What is said of a condition that does not hold: of joints one by one; empty where none is.
  struct Check {
    std::vector<std::string> ticks, off, target, speed, tilt, body_rate, command, phase;
  };

  const std::string& said(const std::string& name) const { return common_.at(name); }
  std::string because(const Reason& found) const;
  std::string failure(const Reason& found) const;
  std::string described(std::int64_t place, const Reason& found) const;
  std::vector<std::string> unfit(const Controller::Problems& found, Controller& controller) const;
  std::vector<std::string> conditions(const Refusal& found, bool is_target) const;
  std::vector<std::string> switch_problems(const Refusal& found) const;
  std::vector<std::string> named(const std::vector<std::string>& all, std::uint64_t bits) const;

  using Texts = std::map<std::int64_t, std::vector<std::string>>;

  std::map<std::string, std::string> common_;
  std::vector<std::string> rules_, joints_, fields_, members_, states_, inputs_;
  std::vector<Time> timeouts_ns_;
  Texts reasons_;
  std::vector<Texts> chunks_;
  std::vector<std::string> beyond_position_, beyond_velocity_, jump_;
  std::string unconfirmed_;
  std::vector<std::string> why_, stamps_, clocks_;
  /// By states, from and to.
  std::vector<std::vector<Check>> checks_;
  mutable std::mutex mutex_;
  std::vector<std::string> texts_{""};
  std::map<std::string, std::int64_t> numbers_;
  std::map<std::int64_t, std::string> model_errors_;
};

}  // namespace policy_core
