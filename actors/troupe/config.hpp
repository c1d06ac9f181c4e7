// The configuration of a program that uses troupe: CAF's, with the troupe
// options added, checked before anything starts. The mix-in gives the same to a
// config class of your own; all that is not a template is in config.cpp.

#pragma once

#include "troupe/dashboard.hpp"
#include "troupe/options.hpp"

#include <caf/actor_system_config.hpp>

#include <concepts>
#include <memory>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace troupe {

class tracer;

namespace detail {

/// What the options ask for that are about the whole program and no pool.
struct program_options {
  /// The trace that goes on, if `troupe.trace` asks for one.
  std::shared_ptr<tracer> trace;

  std::optional<dashboard_address> dashboard;
};

/// What `--help` says of the arguments that are no options.
struct argument_help {
  std::string placeholder = "[arguments]";
  std::string text;
};

/// Adds the troupe options to `known`, registers the troupe messages, and sets
/// the scheduler's policy.
void prepare_config(caf::actor_system_config& cfg,
                    caf::config_option_set& known);

std::optional<int> parse_command_line(caf::actor_system_config& cfg,
                                      const caf::config_option_set& known,
                                      std::vector<std::string>& positional,
                                      program_options& program,
                                      const argument_help& arguments, int argc,
                                      char** argv);

} // namespace detail

/// Gives a config class the troupe options. `Base` is
/// `caf::actor_system_config` or derives from it.
///
/// A derived class may add options of its own in its constructor, by
/// `opt_group{custom_options_, "..."}`, as with any config class of CAF.
///
/// A program that leaves the parsing to CAF can set `troupe.workers` to a
/// count, and not to `auto`: CAF's options have one type.
///
/// Sets the scheduler's policy to `sharing` unless `Base` chose one: an idle
/// worker of CAF's stealing scheduler naps, and results for an actor wait for
/// it. A config file or the command line may choose otherwise.
template <class Base>
class with_options : public Base {
public:
  static_assert(std::is_base_of_v<caf::actor_system_config, Base>);

  // -- construction -----------------------------------------------------------

  with_options() { detail::prepare_config(*this, this->custom_options_); }

  /// Passes its arguments on to `Base`.
  template <class T, class... Ts>
  requires(
      !std::derived_from<
          std::remove_cvref_t<T>,
          with_options> && std::constructible_from<Base, T, Ts...>) explicit with_options(T&& x,
                                                                                          Ts&&... xs)
      : Base(std::forward<T>(x), std::forward<Ts>(xs)...) {
    detail::prepare_config(*this, this->custom_options_);
  }

  // -- properties -------------------------------------------------------------

  /// Returns what the command line had besides options, in its order; all after
  /// `--` is part of it, and so is a single `-`.
  [[nodiscard]] const std::vector<std::string>& arguments() const noexcept {
    return arguments_;
  }

  /// Returns where `--troupe.dashboard` wants a dashboard: a program that links
  /// troupe::dashboard passes it on, as in `troupe::dashboard page{cfg
  /// .dashboard()};`.
  [[nodiscard]] const std::optional<dashboard_address>&
  dashboard() const noexcept {
    return program_.dashboard;
  }

  // -- help -------------------------------------------------------------------

  /// Has `--help` say what the arguments are that are no options: `placeholder`
  /// goes into the line of usage, such as "[TARGET ...]", and `text`, of one or
  /// more lines, below it. An empty placeholder: the program takes none.
  void describe_arguments(std::string placeholder, std::string text) {
    argument_help_ = {std::move(placeholder), std::move(text)};
  }

  // -- parsing ----------------------------------------------------------------

  /// Reads the config file, then (CAF 1.x) the environment, where an option has
  /// a variable, then the command line, which has the last word.
  ///
  /// Shape:  the file is the one that `--config-file` names, else CAF's default
  ///         file if there is one (`caf-application.ini`, since CAF 1.0
  ///         `caf-application.conf`). Options are `--name=value`, `--name
  ///         value`, `-n value` or `-nvalue`; flags need no value. They may
  ///         stand before and behind other arguments.
  ///         `--troupe.trace=FILE` begins a trace, which ends with this object.
  /// Returns: nothing when the program should go on; otherwise the exit status
  ///         to leave with: 0 after `--help`, `--long-help`,
  ///         `--dump-config` and `--troupe.explain`, which print to standard
  ///         output, 1 if they cannot, and 2 for bad input.
  /// Errors: one line on standard error, also for what cannot be printed. Bad
  ///         input is an unknown option, an unknown key in a file (of
  ///         other groups than `troupe`, only one that looks like a slip),
  ///         a value of a wrong type or out of range, values that
  ///         contradict each other, a named file that cannot be read, and
  ///         broken syntax. The line names key, value and what is accepted. The
  ///         settings are then half filled; start no system from them.
  [[nodiscard]] std::optional<int> parse_command_line(int argc, char** argv) {
    return detail::parse_command_line(*this, this->custom_options_, arguments_,
                                      program_, argument_help_, argc, argv);
  }

private:
  std::vector<std::string> arguments_;
  detail::program_options program_;
  detail::argument_help argument_help_;
};

/// The configuration for programs that have no options of their own.
using config = with_options<caf::actor_system_config>;

/// Returns all settings of the group `troupe`, as text, by their full keys.
/// Takes any config, also one that was not made by `with_options`; nothing is
/// checked here, `resolve` does that.
option_table options_of(const caf::actor_system_config& cfg);

} // namespace troupe
