// Reads config file and command line. Does so itself instead of leaving it to
// CAF, which knows no keys with a name in the middle, ignores wrong types in
// files, stops at the first argument that is no option, and reports errors as
// codes.

#include "troupe/config.hpp"

#include "troupe/advisor.hpp"
#include "troupe/caf_compat.hpp"
#include "troupe/dashboard_presence.hpp"
#include "troupe/error.hpp"
#include "troupe/messages.hpp"
#include "troupe/tracer.hpp"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <iterator>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string_view>

namespace troupe {

namespace {

// -- errors -------------------------------------------------------------------

/// Bad input; `what()` is the line to print.
struct bad_input : std::runtime_error {
  using std::runtime_error::runtime_error;
};

/// The user asked for something to be printed instead of a run.
struct nothing_to_run {};

/// What was asked for could not be printed; `what()` is the line that says so.
struct cannot_print : std::runtime_error {
  using std::runtime_error::runtime_error;
};

[[noreturn]] void refuse_output() {
  throw cannot_print{std::string{"cannot write to standard output: "}
                     + std::strerror(errno)};
}

/// Prints the text, and finds out whether it got there.
void print_all(const std::string& text) {
  // A failure that a flush has told of is forgotten by the next one.
  if (std::fputs(text.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    refuse_output();
}

[[noreturn]] void refuse(const std::string& line) {
  throw bad_input{line};
}

// -- CAF's options ------------------------------------------------------------

template <class StringView>
std::string str(StringView text) {
  return {text.begin(), text.end()};
}

bool is_troupe(std::string_view key) {
  return key == "troupe" || key.starts_with("troupe.");
}

/// Returns the key of an option in the settings and in files.
std::string key_of(const caf::config_option& option) {
  return option.category() == "global" ? str(option.long_name())
                                       : str(option.full_name());
}

/// Returns what stands behind the two dashes.
std::string cli_name_of(const caf::config_option& option) {
  return option.has_flat_cli_name() ? str(option.long_name())
                                    : str(option.full_name());
}

std::string accepted_by(const caf::config_option& option) {
  if (option.is_flag())
    return "true or false";
  // CAF 1.x spells types as C++ does.
  auto type = str(option.type_name());
  if (type == "string" || type == "std::string")
    return "text";
  if (type == "timespan" || type == "caf::timespan")
    return "a duration such as 500ms or 10s";
  if (type.starts_with("int"))
    return "a whole number";
  if (type.starts_with("uint"))
    return "a whole number from 0";
  if (type == "real64" || type == "double")
    return "a number";
  return "a value of type " + type;
}

[[noreturn]] void refuse_value(const std::string& name,
                               const caf::config_option& option,
                               const std::string& text) {
  refuse(name + " = " + in_quotes(text)
         + ": not valid (accepted: " + accepted_by(option) + ")");
}

// -- config files -------------------------------------------------------------

/// Returns the whole file. A missing one is nothing if `may_be_missing`.
std::optional<std::string> read_file(const std::string& path,
                                     bool may_be_missing) {
  auto refuse_file = [&path] {
    refuse("config-file = " + in_quotes(path) + ": " + std::strerror(errno)
           + " (accepted: a readable file in the syntax of CAF)");
  };
  errno = 0;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file{
      std::fopen(path.c_str(), "rb"), std::fclose};
  if (!file) {
    if (may_be_missing && errno == ENOENT)
      return {};
    refuse_file();
  }
  std::string result;
  char buffer[4096];
  while (auto got = std::fread(buffer, 1, sizeof(buffer), file.get()))
    result.append(buffer, got);
  if (std::ferror(file.get()) != 0)
    refuse_file();
  return result;
}

/// The config file that counts, parsed.
struct config_file {
  std::string path;
  compat::config_content content;

  /// Returns "FILE:LINE: " for the place that sets `key`, or a part of it.
  [[nodiscard]] std::string place_of(const std::string& key) const {
    auto sets_key = [&key](const compat::config_entry& entry) {
      return entry.key == key || entry.key.starts_with(key + ".");
    };
    // The last one counts.
    const auto& entries = content.entries;
    auto i = std::find_if(entries.rbegin(), entries.rend(), sets_key);
    return i == entries.rend() ? path + ": " : place(i->line);
  }

  /// Returns "FILE:LINE" for the place that sets just `key`, if one does.
  [[nodiscard]] std::optional<std::string>
  line_of(const std::string& key) const {
    const auto& entries = content.entries;
    auto i = std::find_if(
        entries.rbegin(), entries.rend(),
        [&key](const compat::config_entry& entry) { return entry.key == key; });
    if (i == entries.rend())
      return {};
    return path + ":" + std::to_string(i->line);
  }

  [[nodiscard]] std::string place(std::size_t line) const {
    return path + ":" + std::to_string(line) + ": ";
  }
};

config_file load_config_file(caf::actor_system_config& cfg,
                             const std::optional<std::string>& named) {
  auto paths = named ? std::vector<std::string>{*named}
                     : compat::default_config_files(cfg);
  for (const auto& path : paths) {
    auto text = read_file(path, !named);
    if (!text)
      continue;
    config_file result{path, compat::parse_config(*text)};
    if (auto line = result.content.error_line; line > 0)
      refuse(result.place(line) + "broken syntax: " + result.content.error
             + " (accepted: troupe { workers = 4 })");
    return result;
  }
  return {};
}

// -- options of the program --------------------------------------------------

/// A key of `troupe` that is about the whole program, so that no pool has it.
struct program_key {
  std::string_view key;
  /// What stands for its value in the help; nothing for a flag.
  std::string_view value;
  std::string_view accepted;
  std::string_view meaning;
};

constexpr program_key program_keys[] = {
    {"troupe.advise", "", "true or false",
     "say how many workers each pool should have had, when it ends"},
    {"troupe.trace", "file", "a file that can be written",
     "write who ran what when to this file, for Perfetto or chrome://tracing"},
    {"troupe.dashboard", "port", "a port from 0 to 65535, or ADDRESS:PORT",
     "serve a live page and metrics on this port of this machine, where the "
     "program has a dashboard"},
};

const program_key* find_program_key(std::string_view key) {
  auto i = std::find_if(std::begin(program_keys), std::end(program_keys),
                        [key](const program_key& x) { return x.key == key; });
  return i == std::end(program_keys) ? nullptr : i;
}

dashboard_address parse_dashboard(const std::string& text) {
  dashboard_address result;
  auto colon = text.rfind(':');
  auto port = colon == text.npos ? text : text.substr(colon + 1);
  if (colon != text.npos)
    result.host = text.substr(0, colon);
  // An address of many colons stands in brackets, so that the port is seen.
  if (result.host.starts_with('[') && result.host.ends_with(']'))
    result.host = result.host.substr(1, result.host.size() - 2);
  auto number = 0u;
  auto end = std::from_chars(port.data(), port.data() + port.size(), number);
  if (result.host.empty() || end.ec != std::errc{}
      || end.ptr != port.data() + port.size() || number > 65'535)
    refuse("troupe.dashboard = " + in_quotes(text) + ": not valid (accepted: "
           + std::string{find_program_key("troupe.dashboard")->accepted} + ")");
  result.port = static_cast<std::uint16_t>(number);
  return result;
}

void begin_program(detail::program_options& program,
                   const option_table& asked) {
  if (auto i = asked.find("troupe.advise"); i != asked.end()) {
    if (i->second != "true" && i->second != "false")
      refuse(i->first + " = " + in_quotes(i->second)
             + ": not valid (accepted: true or false)");
    advise_at_end(i->second == "true");
  }
  if (auto i = asked.find("troupe.dashboard"); i != asked.end()) {
    program.dashboard = parse_dashboard(i->second);
    if (!detail::has_dashboard())
      refuse(i->first + " = " + in_quotes(i->second)
             + ": this program has no dashboard (leave it out, or build the "
               "program with troupe::dashboard)");
  }
  if (auto i = asked.find("troupe.trace"); i != asked.end())
    program.trace = std::make_shared<tracer>(i->second);
}

// -- the command line ---------------------------------------------------------

constexpr std::string_view explain_name = "troupe.explain";

/// What a command line amounts to, before any value is looked at.
struct command_line {
  struct setting {
    const caf::config_option* option;
    std::string text;
  };

  option_table troupe;
  option_table program;
  std::vector<setting> settings;
  std::vector<std::string> positional;
  std::optional<std::string> config_file;
  bool help = false;
  bool long_help = false;
  bool dump_config = false;
  bool explain = false;
};

class command_line_reader {
public:
  command_line_reader(const caf::config_option_set& known, int argc,
                      char** argv)
      : known_{known} {
    if (argc > 1)
      args_.assign(argv + 1, argv + argc);
  }

  command_line read() {
    while (position_ < args_.size()) {
      const auto& arg = args_[position_++];
      if (arg == "--") {
        result_.positional.insert(result_.positional.end(),
                                  args_.begin()
                                      + static_cast<std::ptrdiff_t>(position_),
                                  args_.end());
        break;
      }
      if (arg.size() < 2 || arg.front() != '-')
        result_.positional.push_back(arg);
      else if (arg[1] == '-')
        read_long(arg);
      else
        read_short(arg);
      // Whoever asks for help gets it, whatever comes behind.
      if (result_.help || result_.long_help)
        break;
    }
    return std::move(result_);
  }

private:
  void read_long(const std::string& arg) {
    auto assign = arg.find('=');
    auto name = arg.substr(2, assign == arg.npos ? arg.npos : assign - 2);
    std::optional<std::string> value;
    if (assign != arg.npos)
      value = arg.substr(assign + 1);
    if (name == explain_name) {
      result_.explain = read_flag(name, value.value_or("true"));
      return;
    }
    if (const auto* known = find_program_key(name)) {
      if (known->value.empty() && !value)
        value = "true";
      result_.program[name] =
          value_of(name, value, std::string{known->accepted});
      return;
    }
    if (name.starts_with("troupe.")) {
      std::vector words{std::string{explain_name.substr(7)}};
      if (find_option(name) == nullptr && closest_match(name.substr(7), words))
        refuse(name + ": unknown key; did you mean '--"
               + std::string{explain_name} + "'?");
      if (find_option(name) == nullptr)
        refuse(unknown_key(name, value));
      result_.troupe[name] = value_of(name, value, accepted_values(name));
      return;
    }
    const auto* option = known_.cli_long_name_lookup(name);
    if (option == nullptr)
      refuse_unknown(arg, name);
    read_value(*option, std::move(value));
  }

  static bool read_flag(const std::string& name, const std::string& text) {
    if (text != "true" && text != "false")
      refuse(name + " = " + in_quotes(text)
             + ": not valid (accepted: true or false)");
    return text == "true";
  }

  void read_short(const std::string& arg) {
    const auto* option = known_.cli_short_name_lookup(arg[1]);
    if (option == nullptr)
      refuse_unknown(arg, {});
    std::optional<std::string> value;
    if (arg.size() > 2)
      value = arg.substr(2);
    read_value(*option, std::move(value));
  }

  void read_value(const caf::config_option& option,
                  std::optional<std::string> value) {
    if (option.is_flag() && !value)
      value = "true";
    auto text =
        value_of("--" + cli_name_of(option), value, accepted_by(option));
    if (option.category() == "global") {
      // These four act on the reading itself.
      auto name = str(option.long_name());
      if (name == "config-file")
        result_.config_file = text;
      else if (name == "help")
        result_.help = true;
      else if (name == "long-help")
        result_.long_help = true;
      else if (name == "dump-config")
        result_.dump_config = true;
    }
    result_.settings.push_back({&option, std::move(text)});
  }

  std::string value_of(const std::string& key,
                       const std::optional<std::string>& value,
                       const std::string& accepted) {
    if (value)
      return *value;
    if (position_ == args_.size())
      refuse(key + ": has no value (accepted: " + accepted + ")");
    return args_[position_++];
  }

  [[noreturn]] void refuse_unknown(const std::string& arg,
                                   const std::string& name) const {
    auto line = "unknown option " + in_quotes(arg);
    std::vector<std::string> names;
    for (const auto& option : known_)
      names.push_back(cli_name_of(option));
    if (auto meant = closest_match(name, names); meant && !name.empty())
      line += "; did you mean '--" + *meant + "'?";
    refuse(line + " (accepted: see --help)");
  }

  const caf::config_option_set& known_;
  std::vector<std::string> args_;
  std::size_t position_ = 0;
  command_line result_;
};

// -- help ---------------------------------------------------------------------

struct plain_config : caf::actor_system_config {
  /// Returns whether CAF itself brings this option.
  [[nodiscard]] bool has(const caf::config_option& option) const {
    auto category = str(option.category());
    return category.starts_with("caf.")
           || custom_options_.qualified_name_lookup(option.category(),
                                                    option.long_name())
                  != nullptr;
  }
};

std::string troupe_help() {
  std::vector<std::pair<std::string, std::string>> rows;
  for (const auto& info : option_infos()) {
    auto value = info.kind == option_kind::count
                     ? info.words.empty() ? std::string{"count"}
                                          : "count|" + std::string{info.words}
                 : info.kind == option_kind::duration ? std::string{"duration"}
                                                      : std::string{info.words};
    rows.emplace_back("  --troupe." + std::string{info.key} + "=<" + value
                          + ">",
                      std::string{info.meaning}
                          + " (default: " + std::string{info.fallback} + ")");
  }
  rows.emplace_back("  --troupe.pools.NAME.KEY=<value>",
                    "any of these keys, for the pool of that name");
  rows.emplace_back("  --troupe.explain",
                    "print what holds for each pool and who set it, and exit");
  for (const auto& x : program_keys)
    rows.emplace_back("  --" + std::string{x.key}
                          + (x.value.empty()
                                 ? std::string{}
                                 : "=<" + std::string{x.value} + ">"),
                      std::string{x.meaning});
  std::size_t width = 0;
  for (const auto& row : rows)
    width = std::max(width, row.first.size());
  std::string result = "troupe options:\n";
  for (auto& [left, right] : rows) {
    left.resize(width, ' ');
    result += left + " : " + right + "\n";
  }
  return result;
}

void print_help(const std::string& program, const caf::config_option_set& known,
                const detail::argument_help& arguments, bool all) {
  plain_config plain;
  caf::config_option_set shown;
  for (const auto& option : known) {
    if (is_troupe(str(option.category())))
      continue;
    if (all || option.has_flat_cli_name() || !plain.has(option))
      shown.add(option);
  }
  std::string text = "Usage: " + program + " [options]";
  if (!arguments.placeholder.empty())
    text += " [--] " + arguments.placeholder;
  text += "\n\n";
  if (!arguments.text.empty())
    text += arguments.text + "\n\n";
  auto options = shown.help_text(false);
  // What CAF says of its own printing does not hold for this.
  constexpr std::string_view elsewhere = " to STDERR and exit";
  for (auto i = options.find(elsewhere); i != options.npos;
       i = options.find(elsewhere))
    options.replace(i, elsewhere.size(), " and exit");
  text += options;
  text += troupe_help();
  print_all(text);
}

// -- explaining ---------------------------------------------------------------

/// Prints what holds for the unnamed pool and for each that has keys of its
/// own, one option a line: value, the key that set it, and where that stood.
void print_explanation(const option_table& table, const config_file& file,
                       const option_table& typed) {
  auto place_of = [&](const std::string& key) {
    if (typed.count(key) > 0)
      return std::string{"command line"};
    auto place = file.line_of(key);
    return place ? *place : std::string{"set by the program"};
  };
  std::string text;
  auto explain_pool = [&](const std::string& name) {
    text += name.empty() ? std::string{"pools without keys of their own"}
                         : "pool " + in_quotes(name);
    text += ":\n";
    for (const auto& option : explain({.name = name}, table)) {
      auto key = origin_name(option.origin, option.key, name);
      text +=
          "  " + std::string{option.key} + " = " + option.value + " (" + key;
      if (option.origin != option_origin::built_in)
        text += ", " + place_of(key);
      text += ")\n";
    }
  };
  explain_pool({});
  for (const auto& name : pool_names(table))
    explain_pool(name);
  print_all(text);
}

// -- settings -----------------------------------------------------------------

/// Puts a checked value into the settings, in the type that the option has.
void put_option(caf::settings& settings, const std::string& key,
                const std::string& text) {
  switch (find_option(key)->kind) {
  case option_kind::count: {
    if (text == find_option(key)->words) {
      caf::put(settings, key, text);
      break;
    }
    auto value = parse_count(key, text, 0, defaults::max_queued_limit);
    caf::put(settings, key, static_cast<std::int64_t>(value));
    break;
  }
  case option_kind::duration:
    caf::put(settings, key, caf::timespan{parse_duration(key, text)});
    break;
  default:
    caf::put(settings, key, text);
  }
}

/// Returns the key that was probably meant by one of a file which belongs to no
/// option; nothing if it may as well be a key that the program reads itself.
std::optional<std::string> meant_by(const std::string& key,
                                    const caf::config_option_set& known) {
  auto dot = key.find('.');
  std::vector words{std::string{"troupe"}};
  if (dot != key.npos && closest_match(key.substr(0, dot), words))
    if (auto meant = "troupe" + key.substr(dot); find_option(meant) != nullptr)
      return meant;
  // A group may have keys of any name, but hardly two that look alike.
  auto group_of = [](const std::string& of) {
    return of.substr(0, of.rfind('.') + 1);
  };
  std::vector<std::string> same_group;
  for (const auto& option : known) {
    auto other = key_of(option);
    // An option may take a whole group.
    if (key == other || key.starts_with(other + "."))
      return {};
    if (group_of(other) == group_of(key))
      same_group.push_back(other.substr(group_of(other).size()));
  }
  auto bare = closest_match(key.substr(group_of(key).size()), same_group);
  if (!bare)
    return {};
  return group_of(key) + *bare;
}

void put_file(caf::actor_system_config& cfg,
              const caf::config_option_set& known, const config_file& file,
              option_table& program) {
  // Keys that belong to no option and look like none are kept, as CAF does: a
  // program may read them, and an option may take a whole group.
  caf::settings found;
  for (const auto& entry : file.content.entries) {
    if (find_program_key(entry.key) != nullptr) {
      program[entry.key] = entry.text;
      continue;
    }
    if (is_troupe(entry.key)) {
      try {
        // An empty group is harmless unless it stands where a value should.
        auto is_group = caf::holds_alternative<caf::settings>(entry.value);
        if (!is_group || find_option(entry.key) != nullptr)
          check_option(entry.key, entry.text);
      } catch (const failure& err) {
        refuse(file.place(entry.line) + err.what());
      }
      if (find_option(entry.key) != nullptr)
        put_option(cfg.content, entry.key, entry.text);
      continue;
    }
    if (auto meant = meant_by(entry.key, known))
      refuse(file.place(entry.line) + entry.key + " = " + in_quotes(entry.text)
             + ": unknown key; did you mean '" + *meant
             + "'? (accepted: the options that --long-help lists)");
    caf::put(found, entry.key, entry.value);
    caf::put(cfg.content, entry.key, entry.value);
  }
  for (const auto& option : known) {
    auto key = key_of(option);
    const auto* value = caf::get_if(&found, key);
    if (value == nullptr)
      continue;
    auto converted = *value;
    if (!compat::assign(option, converted))
      refuse_value(file.place_of(key) + key, option, compat::text_of(*value));
    caf::put(cfg.content, key, std::move(converted));
  }
}

/// Puts a value that came as text; `name` is what the user calls the option.
void put_text(caf::actor_system_config& cfg, const std::string& name,
              const caf::config_option& option, const std::string& text) {
  caf::config_value value;
  if (!compat::assign(option, text, value))
    refuse_value(name, option, text);
  caf::put(cfg.content, key_of(option), std::move(value));
}

void flatten(const caf::config_value& value, const std::string& key,
             option_table& result) {
  if (const auto* group = caf::get_if<caf::settings>(&value)) {
    for (const auto& entry : *group)
      flatten(entry.second, key + "." + entry.first, result);
    return;
  }
  if (const auto* duration = caf::get_if<caf::timespan>(&value))
    result[key] = to_text(*duration);
  else
    result[key] = compat::text_of(value);
}

void fill(caf::actor_system_config& cfg, const caf::config_option_set& known,
          std::vector<std::string>& positional, detail::program_options& asked,
          const detail::argument_help& arguments, int argc, char** argv) {
  std::string program = argc > 0 ? argv[0] : "";
  program.erase(0, program.rfind('/') + 1);
  auto line = command_line_reader{known, argc, argv}.read();
  if (line.help || line.long_help) {
    print_help(program, known, arguments, line.long_help);
    throw nothing_to_run{};
  }
  if (!line.config_file)
    if (const auto* option = known.cli_long_name_lookup("config-file"))
      line.config_file = compat::environment_of(*option);
  auto file = load_config_file(cfg, line.config_file);
  option_table for_program;
  put_file(cfg, known, file, for_program);
  for (const auto& option : known)
    if (auto text = compat::environment_of(option))
      put_text(cfg, "environment: " + key_of(option), option, *text);
  for (const auto& [option, text] : line.settings)
    put_text(cfg, "--" + cli_name_of(*option), *option, text);
  for (const auto& [key, text] : line.troupe) {
    check_option(key, text);
    put_option(cfg.content, key, text);
  }
  // The whole of it: two values may each be fine and yet contradict each other,
  // and a program may have set some of them itself.
  check_options(options_of(cfg));
  if (line.explain) {
    print_explanation(options_of(cfg), file, line.troupe);
    throw nothing_to_run{};
  }
  if (line.dump_config) {
    compat::print_config(cfg);
    // By a stream of C++, which shares its buffer with C's.
    if (!std::cout.flush() || std::ferror(stdout) != 0)
      refuse_output();
    throw nothing_to_run{};
  }
  positional = std::move(line.positional);
  // Last, since it is the only part that does something.
  line.program.merge(for_program);
  begin_program(asked, line.program);
}

} // namespace

namespace detail {

bool& has_dashboard() noexcept {
  static bool present = false;
  return present;
}

void prepare_config(caf::actor_system_config& cfg,
                    caf::config_option_set& known) {
  register_messages(cfg);
  // Serves programs that leave the parsing to CAF, and those that set options
  // by `cfg.set("troupe.workers", 4)`.
  caf::config_option_adder group{known, "troupe"};
  for (const auto& info : option_infos()) {
    auto name = std::string{info.key} + compat::no_environment;
    auto meaning = std::string{info.meaning};
    switch (info.kind) {
    case option_kind::count:
      group.add<std::int64_t>(name, meaning);
      break;
    case option_kind::duration:
      group.add<caf::timespan>(name, meaning);
      break;
    default:
      group.add<std::string>(name, meaning);
    }
  }
  auto policy = std::string{compat::config_prefix} + "scheduler.policy";
  if (caf::get_if(&cfg.content, policy) == nullptr)
    caf::put(cfg.content, policy, compat::config_word("sharing"));
}

std::optional<int> parse_command_line(caf::actor_system_config& cfg,
                                      const caf::config_option_set& known,
                                      std::vector<std::string>& positional,
                                      program_options& program,
                                      const argument_help& arguments, int argc,
                                      char** argv) {
  positional.clear();
  program = {};
  std::string error;
  auto status = 2;
  try {
    fill(cfg, known, positional, program, arguments, argc, argv);
    return {};
  } catch (const nothing_to_run&) {
    return 0;
  } catch (const cannot_print& err) {
    error = err.what();
    status = 1;
  } catch (const bad_input& err) {
    error = err.what();
  } catch (const failure& err) {
    error = err.what();
  }
  std::string name = argc > 0 ? argv[0] : "troupe";
  name.erase(0, name.rfind('/') + 1);
  // One call, so that the line stays whole whoever else prints.
  auto line = on_one_line(name + ": " + error) + "\n";
  std::fputs(line.c_str(), stderr);
  return status;
}

} // namespace detail

option_table options_of(const caf::actor_system_config& cfg) {
  option_table result;
  if (const auto* group = caf::get_if(&caf::content(cfg), "troupe"))
    flatten(*group, "troupe", result);
  return result;
}

} // namespace troupe
