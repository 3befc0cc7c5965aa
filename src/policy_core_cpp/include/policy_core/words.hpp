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

/// Converts a controller's numbers to words, with the texts in the part `words` of its plan.
/// Equivalent to `policy_core.native.Words`. It allocates memory: never use it in a tick.
class Words {
 public:
  /// Throws PlanError if texts are missing.
  explicit Words(const Table& plan);

  /// The number of a text for requests, assigned on first use; for any thread.
  std::int64_t number_of(const std::string& text);
  /// A new number, whose text may be set repeatedly.
  std::int64_t new_number();
  void set_text(std::int64_t number, const std::string& text);
  std::string text(std::int64_t number) const;
  /// Sets the last error message of a member's model (-1: the only one); it replaces the text for
  /// its number.
  void set_model_error(std::int64_t member, const std::string& text);

  /// The reason for the controller's mode.
  std::string reason(const Reason& found) const;
  /// An input's age and problem.
  std::string input(Controller& controller, std::size_t place, std::int64_t now_ns) const;
  /// Why a joint sample is implausible; empty if it is trusted.
  std::string sample(const JointCheck::Problem& found) const;
  /// Why a motion (`STAND`, `RUN`) is refused.
  std::string refusal(const std::string& wanted, const Controller::Problems& found,
                      Controller& controller) const;
  /// Why DAMP is refused when no pose is known.
  std::string damp_refusal(const Controller::Problems& found, Controller& controller) const;
  /// Why a switch is refused, or waits; empty for `kNone`.
  std::string switch_refusal(const Refusal& found) const;
  /// Why a requested switch is refused immediately; `asked` is the name of the state.
  std::string ask_refusal(const Refusal& found, const std::string& asked,
                          PolicySet& policy_set) const;
  /// Why a set switched its state.
  std::string why(const Reason& found) const;
  /// A description of a clock's step; empty for none.
  std::string clock_step(Input::Stepped whose, std::int64_t step_ns) const;
  /// Why no command is sent; empty if commands are being sent.
  std::string silence(Controller& controller) const;
  std::string silence(bool is_pose_known, bool was_asked) const;
  /// The name of a rule, or of a set's state (empty for -1).
  const std::string& rule(std::size_t rule) const { return rules_[rule]; }
  const std::string& state(std::int64_t state) const;
  const std::vector<std::string>& states() const noexcept { return states_; }

  static const char* mode(Mode mode) noexcept;

 private:
  /// Texts for the conditions of a transition that do not hold, some per joint; may be empty.
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
  std::vector<std::string> rules_, joints_, fields_, members_, states_, inputs_, no_messages_;
  std::vector<Time> timeouts_ns_;
  Texts reasons_;
  std::vector<Texts> chunks_;
  std::vector<std::string> beyond_position_, beyond_velocity_, jump_;
  std::string unconfirmed_;
  std::vector<std::string> why_, stamps_, clocks_;
  /// Indexed by the states from and to which a transition leads.
  std::vector<std::vector<Check>> checks_;
  mutable std::mutex mutex_;
  std::vector<std::string> texts_{""};
  std::map<std::string, std::int64_t> numbers_;
  std::map<std::int64_t, std::string> model_errors_;
};

}  // namespace policy_core
