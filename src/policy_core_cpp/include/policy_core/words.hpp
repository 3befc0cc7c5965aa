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

/// Converts the numbers of one controller to words, with the texts in the part `words` of its plan;
/// equivalent to `policy_core.native.Words`. It allocates: never call it in a tick.
class Words {
 public:
  /// Throws PlanError if texts are missing.
  explicit Words(const Table& plan);

  /// The number of a text for requests, assigned on first use; from any thread.
  std::int64_t number_of(const std::string& text);
  /// A number whose text is set repeatedly.
  std::int64_t new_number();
  void set_text(std::int64_t number, const std::string& text);
  std::string text(std::int64_t number) const;
  /// Sets the last message of a runtime, by member (-1: the only one); it replaces the text of its
  /// number.
  void set_model_error(std::int64_t member, const std::string& text);

  /// The reason for the mode.
  std::string reason(const Reason& found) const;
  /// The age of an input, and its problem.
  std::string input(Controller& controller, std::size_t place, std::int64_t now_ns) const;
  /// Why a joint sample is implausible; empty if it is trusted.
  std::string sample(const JointCheck::Problem& found) const;
  /// Why a motion (`STAND`, `RUN`) is refused.
  std::string refusal(const std::string& wanted, const Controller::Problems& found,
                      Controller& controller) const;
  /// Why DAMP is refused, if no pose is known.
  std::string damp_refusal(const Controller::Problems& found, Controller& controller) const;
  /// Why a switch is refused, or waits; empty for `kNone`.
  std::string switch_refusal(const Refusal& found) const;
  /// Why a requested switch is refused at once; `asked`: the name of the state.
  std::string ask_refusal(const Refusal& found, const std::string& asked,
                          PolicySet& policy_set) const;
  /// The reason of a set's switch.
  std::string why(const Reason& found) const;
  /// Describes a clock step; empty for none.
  std::string clock_step(Input::Stepped whose, std::int64_t step_ns) const;
  /// Why no command is sent; empty if commands are sent.
  std::string silence(Controller& controller) const;
  std::string silence(bool is_pose_known, bool was_asked) const;
  /// Name of a rule, a mode, a state of a set; empty for the state -1.
  const std::string& rule(std::size_t rule) const { return rules_[rule]; }
  const std::string& state(std::int64_t state) const;
  const std::vector<std::string>& states() const noexcept { return states_; }

  static const char* mode(Mode mode) noexcept;

 private:
  /// Texts for a condition that does not hold, for joints one by one; may be empty.
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
