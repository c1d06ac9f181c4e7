// The part of caf_compat.hpp that needs more of CAF than its public headers:
// the parser of config files, which CAF wraps so that files cut short go
// unnoticed and positions get lost. Knows which CAF it is compiled against, as
// the header.

#include "troupe/caf_compat.hpp"

#include "troupe/error.hpp"
#include "troupe/escape.hpp"
#include "troupe/exposition.hpp"
#include "troupe/messages.hpp"
#include "troupe/options.hpp"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstdlib>
#include <random>
#include <sstream>
#include <string_view>
#include <unordered_map>

#include <caf/io/basp_broker.hpp>
#include <caf/io/middleman.hpp>

#if TROUPE_CAF_1
#  include <caf/detail/parser/read_config.hpp>
#  include <caf/span.hpp>
#  include <caf/telemetry/counter.hpp>
#  include <caf/telemetry/gauge.hpp>
#  include <caf/telemetry/metric_registry.hpp>
#  include <caf/thread_owner.hpp>
#else
#  include <caf/detail/parser/read_ini.hpp>
#endif

#if !TROUPE_CAF_1 && defined(__clang__)

// A CAF that GCC built has the function pointers of these objects in its data
// and fills in the rest when it first needs it. A program that Clang built puts
// an object of its own in front, which then never gets the pointers, unless it
// is the program that fills the object first, whole: here, before `main`.
namespace {

[[maybe_unused]] const void* const option_types[] = {
    caf::detail::option_meta_state_instance<bool>(),
    caf::detail::option_meta_state_instance<std::size_t>(),
    caf::detail::option_meta_state_instance<std::string>(),
    caf::detail::option_meta_state_instance<caf::timespan>(),
    caf::detail::option_meta_state_instance<caf::atom_value>(),
    caf::detail::option_meta_state_instance<std::vector<std::size_t>>(),
    caf::detail::option_meta_state_instance<std::vector<std::string>>(),
    caf::detail::option_meta_state_instance<std::vector<caf::atom_value>>(),
};

} // namespace

#endif

namespace troupe::compat {

// -- responses without a request ----------------------------------------------

#if TROUPE_CAF_1

response_timer::~response_timer() {
  pending_.dispose();
}

void response_timer::start(caf::local_actor* self, caf::message_id response,
                           duration timeout) {
  if (timeout == forever)
    return;
  auto& clock = self->clock();
  pending_ = clock.schedule_message(
      clock.now() + timeout, caf::strong_actor_ptr{self->ctrl()},
      caf::make_mailbox_element(nullptr, response,
                                caf::make_error(caf::sec::request_timeout)));
}

#else

response_timer::~response_timer() {
  if (self_ != nullptr)
    self_->clock().cancel_request_timeout(self_, response_);
}

void response_timer::start(caf::local_actor* self, caf::message_id response,
                           duration timeout) {
  if (timeout == forever)
    return;
  self_ = self;
  response_ = response;
  auto& clock = self->clock();
  clock.set_request_timeout(clock.now() + timeout, self, response);
}

#endif

// -- metrics ------------------------------------------------------------------

#if TROUPE_CAF_1

struct metric_registry::book {
  // Where CAF has the value, and what was set last. CAF finds it by looking at
  // all of its family, so it is not asked again.
  struct entry {
    caf::telemetry::dbl_counter* counter = nullptr;
    caf::telemetry::dbl_gauge* gauge = nullptr;
    double last = 0;
    std::uint64_t round = 0;
  };

  entry make(const metric_sample& sample) const {
    // CAF prints the text of a label as it is; it has to be escaped by then.
    std::vector<std::string> texts;
    for (const auto& label : sample.labels) {
      auto quoted = metric_label(label.second);
      texts.push_back(quoted.substr(1, quoted.size() - 2));
    }
    std::vector<caf::telemetry::label_view> labels;
    for (std::size_t i = 0; i < texts.size(); ++i)
      labels.emplace_back(sample.labels[i].first, texts[i]);
    entry result;
    if (sample.counts)
      result.counter = all.counter_instance<double>(
          "troupe", sample.name, caf::make_span(labels), sample.help);
    else
      result.gauge = all.gauge_instance<double>(
          "troupe", sample.name, caf::make_span(labels), sample.help);
    return result;
  }

  caf::telemetry::metric_registry& all;
  std::unordered_map<std::string, entry> known = {};
  std::uint64_t round = 1;
};

metric_registry::metric_registry(caf::actor_system& system)
    : book_{new book{system.metrics()}} {}

void metric_registry::set(const metric_sample& sample) {
  auto key = sample.name;
  for (const auto& label : sample.labels)
    (key += '\0') += label.second;
  auto found = book_->known.find(key);
  if (found == book_->known.end())
    found = book_->known.emplace(key, book_->make(sample)).first;
  auto& entry = found->second;
  entry.round = book_->round;
  if (entry.gauge != nullptr)
    entry.gauge->value(sample.value);
  else
    entry.counter->inc(sample.value >= entry.last ? sample.value - entry.last
                                                  : sample.value);
  entry.last = sample.value;
}

void metric_registry::end_round() {
  for (auto& [key, entry] : book_->known)
    if (entry.round != book_->round) {
      entry.last = 0;
      if (entry.gauge != nullptr)
        entry.gauge->value(0);
    }
  ++book_->round;
}

#else

struct metric_registry::book {};

metric_registry::metric_registry(caf::actor_system&) {}

void metric_registry::set(const metric_sample&) {}

void metric_registry::end_round() {}

#endif

metric_registry::~metric_registry() = default;

// -- options ------------------------------------------------------------------

#if TROUPE_CAF_1

caf::config_value config_word(const std::string& word) {
  return caf::config_value{word};
}

std::vector<std::string> default_config_files(caf::actor_system_config& cfg) {
  auto paths = cfg.config_file_paths();
  if (paths.empty())
    return {"caf-application.conf"};
  return {paths.begin(), paths.end()};
}

std::optional<std::string> environment_of(const caf::config_option& option) {
  const auto* name = option.env_var_name_cstr();
  const auto* value = *name == '\0' ? nullptr : std::getenv(name);
  if (value == nullptr)
    return {};
  return value;
}

bool assign(const caf::config_option& option, caf::config_value& value) {
  return option.sync(value) == caf::none;
}

bool assign(const caf::config_option& option, const std::string& text,
            caf::config_value& result) {
  result = caf::config_value{text};
  return assign(option, result);
}

void print_config(caf::actor_system_config& cfg) {
  cfg.print_content();
}

#else

caf::config_value config_word(const std::string& word) {
  return caf::config_value{caf::atom_from_string(word)};
}

std::vector<std::string> default_config_files(caf::actor_system_config& cfg) {
  return {cfg.config_file_path};
}

std::optional<std::string> environment_of(const caf::config_option&) {
  return {};
}

bool assign(const caf::config_option& option, caf::config_value& value) {
  if (option.check(value) != caf::none)
    return false;
  option.store(value);
  return true;
}

bool assign(const caf::config_option& option, const std::string& text,
            caf::config_value& result) {
  // CAF would strip blanks and quotes off a string, which may be a file's name.
  if (option.type_name() == "string") {
    result = caf::config_value{text};
    return assign(option, result);
  }
  if (text.empty())
    return false;
  auto value = option.parse(text);
  if (!value)
    return false;
  result = std::move(*value);
  return assign(option, result);
}

void print_config(caf::actor_system_config& cfg) {
  std::istringstream no_file;
  cfg.parse({"--dump-config"}, no_file);
}

#endif

std::string text_of(const caf::config_value& value) {
  if (auto* text = caf::get_if<std::string>(&value))
    return *text;
#if !TROUPE_CAF_1
  if (auto* word = caf::get_if<caf::atom_value>(&value))
    return to_string(*word);
#endif
  return to_string(value);
}

// -- config files -------------------------------------------------------------

namespace {

using parser_state = caf::parser_state<std::string::const_iterator>;

/// Collects what the parser finds.
class config_builder {
public:
  config_builder(const parser_state& state, const std::string& text,
                 config_content& result)
      : state_{state}, text_{text}, result_{result} {
    frames_.emplace_back();
  }

  void key(std::string name) { frames_.back().key = std::move(name); }

  void begin_map() { frames_.emplace_back(); }

  void begin_list() {
    frames_.emplace_back().is_list = true;
    ++lists_;
  }

  void end_map() {
    auto map = std::move(frames_.back());
    frames_.pop_back();
    // The values of a map outside of lists have been emitted one by one.
    if (lists_ > 0)
      add(caf::config_value{std::move(map.values)});
    else if (map.is_empty)
      emit(caf::config_value{std::move(map.values)}, "{}");
    frames_.back().is_empty = false;
  }

  void end_list() {
    auto list = std::move(frames_.back());
    frames_.pop_back();
    --lists_;
    add(caf::config_value{std::move(list.elements)});
  }

  void add(caf::config_value value) {
    auto& top = frames_.back();
    top.is_empty = false;
    if (top.is_list) {
      top.elements.emplace_back(std::move(value));
    } else if (lists_ > 0) {
      top.values.insert_or_assign(top.key, std::move(value));
    } else {
      auto text = spelling(value);
      emit(std::move(value), std::move(text));
    }
  }

  /// Returns the line that the parser is in; behind the last one, the last one.
  [[nodiscard]] std::size_t line() const {
    auto last = state_.i;
    if (last == text_.end())
      while (last != text_.begin() && *(last - 1) == '\n')
        --last;
    auto lines = std::count(text_.begin(), last, '\n');
    return 1 + static_cast<std::size_t>(lines);
  }

private:
  struct frame {
    bool is_list = false;
    bool is_empty = true;
    std::string key;
    caf::config_value::dictionary values;
    caf::config_value::list elements;
  };

  /// Returns a number, a truth value or a duration as it stands in the file:
  /// CAF has read it to its last letter and knows only what it amounts to,
  /// which is wrong for a duration that is too long.
  std::string spelling(const caf::config_value& value) const {
    auto result = text_of(value);
    if (caf::holds_alternative<std::string>(value)
        || caf::holds_alternative<caf::config_value::list>(value)
        || caf::holds_alternative<caf::uri>(value))
      return result;
#if !TROUPE_CAF_1
    if (caf::holds_alternative<caf::atom_value>(value))
      return result;
#endif
    auto belongs = [](char ch) {
      return std::isalnum(static_cast<unsigned char>(ch)) != 0 || ch == '.'
             || ch == '+' || ch == '-';
    };
    auto first = state_.i;
    while (first != text_.begin() && belongs(*(first - 1)))
      --first;
    return {first, state_.i};
  }

  void emit(caf::config_value value, std::string text) {
    std::string path;
    for (const auto& part : frames_) {
      if (!path.empty())
        path += '.';
      path += part.key;
    }
#if !TROUPE_CAF_1
    // How CAF's parser calls the place outside of all groups.
    static const std::string outside = "global.";
    if (path.compare(0, outside.size(), outside) == 0)
      path.erase(0, outside.size());
    else if (path == "global")
      return;
#endif
    result_.entries.push_back(
        {std::move(path), std::move(value), std::move(text), line()});
  }

  const parser_state& state_;
  const std::string& text_;
  config_content& result_;
  std::vector<frame> frames_;
  std::size_t lists_ = 0;
};

/// What CAF's parser wants to talk to; it makes one for each group and list.
/// The parser descends recursively, so all of them can share one builder.
class config_consumer {
public:
  explicit config_consumer(config_builder& builder) : builder_{&builder} {}

  config_consumer begin_map() {
    builder_->begin_map();
    return *this;
  }

  config_consumer begin_list() {
    builder_->begin_list();
    return *this;
  }

  void end_map() { builder_->end_map(); }

  void end_list() { builder_->end_list(); }

  void key(std::string name) { builder_->key(std::move(name)); }

  template <class T>
  caf::pec value(T&& x) {
    builder_->add(caf::config_value{std::forward<T>(x)});
    return caf::pec::success;
  }

private:
  config_builder* builder_;
};

std::string reason_of(caf::pec code) {
  switch (code) {
  case caf::pec::unexpected_eof:
    return "the file ends too early";
  case caf::pec::unexpected_newline:
    return "the line ends too early";
  case caf::pec::fractional_timespan:
    return "a duration with a decimal point needs double quotes";
  case caf::pec::integer_overflow:
  case caf::pec::integer_underflow:
  case caf::pec::exponent_overflow:
  case caf::pec::exponent_underflow:
    return "number out of range";
  default:
    return {};
  }
}

} // namespace

config_content parse_config(const std::string& text) {
  config_content result;
  parser_state state{text.begin(), text.end()};
  config_builder builder{state, text, result};
#if TROUPE_CAF_1
  caf::detail::parser::read_config(state, config_consumer{builder});
#else
  caf::detail::parser::read_ini(state, config_consumer{builder});
#endif
  if (state.code == caf::pec::success && state.at_end())
    return result;
  result.entries.clear();
  result.error_line = builder.line();
  result.error = reason_of(state.code);
  if (result.error.empty()) {
    auto end = std::find(state.i, text.end(), '\n');
    result.error = "unexpected " + in_quotes(std::string{state.i, end});
  }
  return result;
}

namespace {

thread_local bool scheduler_thread = false;

class thread_watch final : public caf::thread_hook {
public:
  void init(caf::actor_system&) override {}

#if TROUPE_CAF_1
  void thread_started(caf::thread_owner owner) override {
    scheduler_thread = owner == caf::thread_owner::scheduler;
  }
#else
  // Is not told what the thread is for, but the thread has its name by now.
  void thread_started() override {
    char name[16] = {};
    pthread_getname_np(pthread_self(), name, sizeof(name));
    scheduler_thread = std::string_view{name} == "caf.multiplexer";
  }
#endif

  void thread_terminates() override {}
};

} // namespace

void abandon_launch(caf::scheduled_actor* self) {
  // The actor is done for, but for the references that CAF has left.
  caf::strong_actor_ptr keep{self->ctrl()};
  self->on_exit();
  self->cleanup(caf::make_error(caf::sec::runtime_error), nullptr);
#if !TROUPE_CAF_1
  // CAF 0.17 has counted the thread, and the reference that the thread would
  // have held. It loses the object that stands for the thread, a hundred bytes.
  caf::intrusive_ptr_release(self->ctrl());
  self->home_system().dec_detached_threads();
#endif
}

void throw_no_thread(const std::string& what, const char* cause) {
  throw failure{ec::resource_unavailable,
                "cannot start " + what + ": the system refuses the thread ("
                    + cause
                    + "); raise ulimit -u or the cgroup's pids.max, or start "
                      "fewer threads"};
}

// -- network ------------------------------------------------------------------

namespace {

#if !TROUPE_CAF_1

// Comes behind the middleman, which sets the ID, and before anything that uses
// it.
class node_renamer final : public caf::actor_system::module {
public:
  explicit node_renamer(caf::actor_system& system) : system_{system} {}

  void start() override {}

  void stop() override {}

  void init(caf::actor_system_config&) override {
    caf::node_id::default_data::host_id_type host;
    std::random_device random;
    for (auto& byte : host)
      byte = static_cast<std::uint8_t>(random());
    // What CAF shows is a member of the system, which is no constant.
    const_cast<caf::node_id&>(system_.node()) =
        caf::make_node_id(static_cast<std::uint32_t>(::getpid()), host);
  }

  id_t id() const override { return network_manager; }

  void* subtype_ptr() override { return this; }

private:
  caf::actor_system& system_;
};

#endif

} // namespace

void load_network(caf::actor_system_config& cfg) {
#if TROUPE_CAF_1
  caf::io::middleman::init_global_meta_objects();
#endif
  cfg.load<caf::io::middleman>();
}

caf::actor connection_keeper(caf::actor_system& system) {
#if TROUPE_CAF_1
  auto name = "BASP";
#else
  auto name = caf::atom("BASP");
#endif
  return system.middleman().named_broker<caf::io::basp_broker>(name);
}

#if TROUPE_CAF_1

namespace {

// Reads the types of a message and no more.
bool is_plain(caf::binary_deserializer& source) {
  std::size_t n = 0;
  if (!source.begin_sequence(n))
    return false;
  for (; n > 0; --n) {
    caf::type_id_t id{};
    if (!source.value(id))
      return false;
    switch (id) {
    case caf::type_id_v<std::string>:
    case caf::type_id_v<caf::actor>:
    case caf::type_id_v<caf::strong_actor_ptr>:
    case caf::type_id_v<node_atom>:
    // By these systems tell each other who they are.
    case caf::type_id_v<caf::sys_atom>:
    case caf::type_id_v<caf::get_atom>:
    case caf::type_id_v<caf::ok_atom>:
      break;
    default:
      return false;
    }
  }
  return true;
}

} // namespace

bool holds_only_texts(std::span<const std::byte> payload) {
  caf::binary_deserializer source{payload.data(), payload.size()};
  return is_plain(source);
}

bool ends_by_texts(std::span<const std::byte> payload) {
  caf::binary_deserializer source{payload.data(), payload.size()};
  caf::node_id from;
  caf::node_id to;
  bool failed = false;
  std::uint8_t code = 0;
  caf::type_id_t category{};
  return source.apply(from) && source.apply(to)
         && source.begin_field("", failed)
         && (!failed
             || (source.value(code) && source.value(category)
                 && is_plain(source)));
}

#else

namespace {

caf::binary_deserializer reader(std::span<const std::byte> payload) {
  return {static_cast<caf::execution_unit*>(nullptr),
          reinterpret_cast<const char*>(payload.data()), payload.size()};
}

// Reads the types of a message and no more: "@<>", and "+TYPE" for each.
bool is_plain(caf::binary_deserializer& source) {
  constexpr std::string_view opening = "@<>";
  std::uint16_t number = 0;
  std::string names;
  if (source.begin_object(number, names) || !names.starts_with(opening))
    return false;
  std::string_view rest{names};
  rest.remove_prefix(opening.size());
  while (!rest.empty()) {
    rest.remove_prefix(1);
    auto name = rest.substr(0, rest.find('+'));
    if (name != "@atom" && name != "@str" && name != "@actor"
        && name != "@strong_actor_ptr")
      return false;
    rest.remove_prefix(name.size());
  }
  return true;
}

} // namespace

bool holds_only_texts(std::span<const std::byte> payload) {
  auto source = reader(payload);
  std::size_t stages = 0;
  return !source.begin_sequence(stages) && stages == 0 && is_plain(source);
}

bool ends_by_texts(std::span<const std::byte> payload) {
  auto source = reader(payload);
  caf::node_id from;
  caf::node_id to;
  std::uint8_t code = 0;
  auto category = caf::atom("");
  return !source(from, to, code, category) && is_plain(source);
}

#endif

void randomize_node([[maybe_unused]] caf::actor_system_config& cfg) {
#if !TROUPE_CAF_1
  cfg.module_factories.push_back(
      [](caf::actor_system& system) -> caf::actor_system::module* {
        return new node_renamer{system};
      });
#endif
}

void watch_threads(caf::actor_system_config& cfg) {
  cfg.add_thread_hook<thread_watch>();
}

bool on_scheduler_thread() noexcept {
  return scheduler_thread;
}

} // namespace troupe::compat
