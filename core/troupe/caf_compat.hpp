// The only file that knows which CAF it is compiled against: 0.17.5 or later of
// the 0.17 series, or 1.x. Each function here stands for one spelling that
// changed in between; everything else in troupe keeps to what both accept.

#pragma once

#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <caf/actor_registry.hpp>
#include <caf/all.hpp>
#include <caf/binary_deserializer.hpp>
#include <caf/binary_serializer.hpp>
#include <caf/config.hpp>

#include "troupe/build_info.hpp"

namespace troupe {

struct metric_sample;

} // namespace troupe

#if CAF_MAJOR_VERSION >= 1
#  define TROUPE_CAF_1 1
#  include <caf/init_global_meta_objects.hpp>
#elif CAF_MAJOR_VERSION == 0 && CAF_MINOR_VERSION == 17 \
    && CAF_PATCH_VERSION >= 5
#  define TROUPE_CAF_1 0
#else
#  error "troupe needs CAF 0.17.5 or later of 0.17, or CAF 1.x"
#endif

namespace troupe::compat {

using duration = caf::timespan;

inline constexpr duration forever = duration::max();

// -- messages -----------------------------------------------------------------

#if TROUPE_CAF_1

template <class... Ts>
void tell(const caf::actor& to, Ts&&... xs) {
  caf::anon_mail(std::forward<Ts>(xs)...).send(to);
}

template <class... Ts>
void tell_after(duration delay, const caf::actor& to, Ts&&... xs) {
  caf::anon_mail(std::forward<Ts>(xs)...).delay(delay).send(to);
}

template <class Self, class... Ts>
auto ask(Self&& self, const caf::actor& to, duration timeout, Ts&&... xs) {
  return self->mail(std::forward<Ts>(xs)...).request(to, timeout);
}

#else

template <class... Ts>
void tell(const caf::actor& to, Ts&&... xs) {
  caf::anon_send(to, std::forward<Ts>(xs)...);
}

template <class... Ts>
void tell_after(duration delay, const caf::actor& to, Ts&&... xs) {
  caf::delayed_anon_send(to, delay, std::forward<Ts>(xs)...);
}

template <class Self, class... Ts>
auto ask(Self&& self, const caf::actor& to, duration timeout, Ts&&... xs) {
  using caf_duration = caf::duration;
  auto within =
      timeout == forever ? caf_duration{caf::infinite} : caf_duration{timeout};
  return self->request(to, within, std::forward<Ts>(xs)...);
}

#endif

// -- responses without a request ----------------------------------------------

/// Registers `handlers` for one response that any thread may send by `respond`.
/// The user's behavior never sees it. Keeps the actor from ending for lack of
/// things to wait for. Must be called on the thread of `self`.
inline caf::message_id expect_response(caf::scheduled_actor* self,
                                       caf::behavior handlers) {
  auto request = self->new_request_id(caf::message_priority::normal);
  auto id = request.response_id();
  self->add_multiplexed_response_handler(id, std::move(handlers));
  return id;
}

/// Has CAF's clock give a response that an actor expects, an error, when nobody
/// else has given it in time. The clock keeps the actor in existence until then
/// or until this object goes, so the handlers of the response should hold it:
/// CAF destroys them with the response, and when the actor ends.
class response_timer {
public:
  response_timer() = default;
  response_timer(const response_timer&) = delete;
  response_timer& operator=(const response_timer&) = delete;
  ~response_timer();

  /// Starts the timer, unless `timeout` is `forever`. Must be called once, on
  /// the thread of `self`.
  void start(caf::local_actor* self, caf::message_id response,
             duration timeout);

private:
#if TROUPE_CAF_1
  caf::disposable pending_;
#else
  caf::local_actor* self_ = nullptr;
  caf::message_id response_;
#endif
};

/// Calls `wake()` after `delay`, on the thread of `self`, or as soon as
/// somebody responds with a `caf::ok_atom`.
template <class Wake>
caf::message_id expect_timeout(caf::scheduled_actor* self, duration delay,
                               Wake wake) {
  auto timer = std::make_shared<response_timer>();
  auto id = expect_response(
      self, caf::behavior{[wake, timer](caf::error&) mutable { wake(); },
                          [wake, timer](caf::ok_atom) mutable { wake(); }});
  timer->start(self, id, delay);
  return id;
}

/// Sends `content` as the response that `to` expects under `id`.
template <class... Ts>
void respond(const caf::strong_actor_ptr& to, caf::message_id id, Ts&&... xs) {
#if TROUPE_CAF_1
  auto letter = caf::make_mailbox_element(caf::strong_actor_ptr{}, id,
                                          std::forward<Ts>(xs)...);
#else
  auto letter = caf::make_mailbox_element(caf::strong_actor_ptr{}, id, {},
                                          std::forward<Ts>(xs)...);
#endif
  to->enqueue(std::move(letter), nullptr);
}

/// Sends `xs` to `to` as a request. The answer goes to `handlers`, on the
/// thread of `self`, or an error in its place. Returns the ID under which
/// `respond` can answer before `to` does.
template <class... Ts>
caf::message_id send_request(caf::scheduled_actor* self, const caf::actor& to,
                             caf::behavior handlers, Ts&&... xs) {
  auto request = self->new_request_id(caf::message_priority::normal);
  auto id = request.response_id();
  auto me = caf::strong_actor_ptr{self->ctrl()};
  self->add_multiplexed_response_handler(id, std::move(handlers));
  if (!to) {
    respond(me, id, caf::make_error(caf::sec::invalid_argument));
    return id;
  }
#if TROUPE_CAF_1
  to->enqueue(caf::make_mailbox_element(me, request, std::forward<Ts>(xs)...),
              self->context());
#else
  to->enqueue(
      caf::make_mailbox_element(me, request, {}, std::forward<Ts>(xs)...),
      self->context());
#endif
  return id;
}

// -- threads ------------------------------------------------------------------

/// What `spawn_thread` makes of an actor: one that says where it is as soon as
/// it exists, and that runs, as CAF counts, until CAF has done all for its end.
template <class Actor>
class threaded final : public Actor {
public:
  template <class... Ts>
  threaded(caf::actor_config& cfg, caf::scheduled_actor** self, Ts&&... xs)
      : Actor{cfg, std::forward<Ts>(xs)...} {
    *self = this;
#if TROUPE_CAF_1
    // Runs while it is counted, too.
    this->attach_functor([this](const caf::error&) {
      this->home_system().registry().inc_running();
    });
#endif
  }

#if TROUPE_CAF_1
  // CAF 1 counts an actor out before it gives up the thread and calls
  // `on_exit`. Once nobody is counted, the end of the system waits for the
  // threads that there are; one that `on_exit` asks for later would begin in a
  // system that is gone. So the actor is counted once more until it is through.
  void on_cleanup(const caf::error& why) override {
    auto& counted = this->home_system().registry();
    Actor::on_cleanup(why);
    counted.dec_running();
  }
#else
  // CAF 0.17 counts an actor out first and tells its clock of the end after
  // that. Once nobody is counted, the end of the system stops the clock, whose
  // ring has room for 63: then the threads of further actors would wait there
  // for ever, and the system for them. So the actor is counted once more until
  // the clock knows.
  bool cleanup(caf::error&& why, caf::execution_unit* host) override {
    auto& counted = this->home_system().registry();
    counted.inc_running();
    auto result = Actor::cleanup(std::move(why), host);
    counted.dec_running();
    return result;
  }
#endif
};

/// Takes back what CAF has done for an actor whose thread could not be created:
/// calls its `on_exit` and has the system neither count nor await it any more.
void abandon_launch(caf::scheduled_actor* self);

[[noreturn]] void throw_no_thread(const std::string& what, const char* cause);

/// Spawns a detached actor. CAF by itself goes on waiting for a thread that the
/// system has refused, until the end of the process.
///
/// Errors: throws `failure` with `ec::resource_unavailable` if the system
///         refuses the thread; `what` is what needs it.
template <class Actor, class... Ts>
caf::actor spawn_thread(caf::actor_system& system, const std::string& what,
                        Ts&&... xs) {
  caf::scheduled_actor* self = nullptr;
  try {
    return caf::actor_cast<caf::actor>(
        system.spawn<threaded<Actor>, caf::detached>(&self,
                                                     std::forward<Ts>(xs)...));
  } catch (const std::system_error& err) {
    abandon_launch(self);
    throw_no_thread(what, err.what());
  }
}

/// Has systems with this configuration tell `on_scheduler_thread` what their
/// threads are for.
void watch_threads(caf::actor_system_config& cfg);

/// Returns whether the calling thread is one of the scheduler of a system whose
/// threads are watched.
bool on_scheduler_thread() noexcept;

// -- metrics ------------------------------------------------------------------

/// The registry of metrics that an actor system of CAF 1.x has. With 0.17,
/// which has none, nothing happens.
class metric_registry {
public:
  static constexpr bool exists = TROUPE_CAF_1 != 0;

  /// `system` must live as long as this.
  explicit metric_registry(caf::actor_system& system);

  metric_registry(const metric_registry&) = delete;

  metric_registry& operator=(const metric_registry&) = delete;

  ~metric_registry();

  /// Has the metric `troupe.NAME` say what `sample` says, and adds it if it is
  /// not there. What only grows is added up if it begins again from zero. For
  /// one thread at a time.
  void set(const metric_sample& sample);

  /// Ends a round of `set`: what goes up and down and was not among them, is
  /// zero from now on. CAF keeps every metric for ever.
  void end_round();

private:
  struct book;

  std::unique_ptr<book> book_;
};

// -- types --------------------------------------------------------------------

/// Registers the types of a block with CAF 1.x, which ends the program when an
/// error is made or shown of a type that it does not know. For the time before
/// `main`: later, other threads may be reading CAF's table. 0.17 has the types
/// in the configuration.
template <class Block>
bool register_types() {
#if TROUPE_CAF_1
  caf::init_global_meta_objects<Block>();
  caf::core::init_global_meta_objects();
#endif
  return true;
}

/// Adds the types of a block to the configuration, where 0.17 has them.
template <class Block>
void add_types([[maybe_unused]] caf::actor_system_config& cfg) {
#if !TROUPE_CAF_1
  cfg.add_message_types<Block>();
#endif
}

// -- values as bytes ----------------------------------------------------------

/// What `encode` writes: a vector of bytes, in the type that CAF has for them.
#if TROUPE_CAF_1
using byte_buffer = caf::byte_buffer;
#else
using byte_buffer = std::vector<char>;
#endif

/// Whether `encode` compiles for these types, as far as CAF lets one ask: 1.x
/// has an error of its own.
#if TROUPE_CAF_1
template <class...>
inline constexpr bool encodable = true;
#else
template <class T>
concept inspected = requires(caf::binary_serializer& sink, T& value) {
  sink.apply(value);
};

template <class... Ts>
inline constexpr bool encodable = (inspected<Ts> && ...);
#endif

/// Appends the values to `result`, by their `inspect`. Returns whether CAF
/// could write them all.
template <class... Ts>
bool encode(byte_buffer& result, const Ts&... xs) {
#if TROUPE_CAF_1
  caf::binary_serializer sink{result};
  return (sink.apply(xs) && ...);
#else
  caf::binary_serializer sink{nullptr, result};
  // It takes a reference to what it reads or writes, and promises to leave the
  // value alone when it reads.
  return ((sink.apply(const_cast<Ts&>(xs)) == caf::none) && ...);
#endif
}

/// Reads the values that `encode` wrote. Returns false if `bytes` ends too
/// early, holds more than that, or makes no sense; then the values are
/// unspecified.
template <class... Ts>
bool decode(std::span<const std::byte> bytes, Ts&... xs) {
  try {
#if TROUPE_CAF_1
    caf::binary_deserializer source{bytes.data(), bytes.size()};
    return (source.apply(xs) && ...) && source.remaining() == 0;
#else
    // CAF checks that the pointer is not null, also for no bytes.
    static constexpr char none = 0;
    caf::binary_deserializer source{
        static_cast<caf::execution_unit*>(nullptr),
        bytes.empty() ? &none : reinterpret_cast<const char*>(bytes.data()),
        bytes.size()};
    return ((source.apply(xs) == caf::none) && ...) && source.remaining() == 0;
#endif
  } catch (const std::exception&) {
    // A length that no memory can hold, or an `inspect` that refuses.
    return false;
  }
}

// -- network ------------------------------------------------------------------

/// What CAF hands to those who read from a connection.
#if TROUPE_CAF_1
using io_context = caf::scheduler;
#else
using io_context = caf::execution_unit;
#endif

/// Has systems with this configuration open network connections.
void load_network(caf::actor_system_config& cfg);

/// Returns the actor of a system that keeps its connections to other systems.
caf::actor connection_keeper(caf::actor_system& system);

/// Returns whether a message from another system holds nothing but atoms, texts
/// and handles of actors: no lists, for which CAF may make room before it looks
/// whether there is anything in them, and no types that a program has added.
/// `payload` is that of BASP's `direct_message`.
bool holds_only_texts(std::span<const std::byte> payload);

/// The same for the reason that another system gives for the end of an actor.
/// `payload` is that of BASP's `down_message`.
bool ends_by_texts(std::span<const std::byte> payload);

/// Has systems with this configuration call themselves by a random ID. By
/// itself CAF 0.17 makes it of the process ID and the machine's addresses,
/// which two containers may have in common. With CAF 1.x it stays CAF's.
void randomize_node(caf::actor_system_config& cfg);

// -- configuration ------------------------------------------------------------

// Implemented in caf_compat.cpp, which keeps CAF's parsers out of this header.

/// Opens the names of CAF's own options.
inline constexpr const char* config_prefix = TROUPE_CAF_1 ? "caf." : "";

/// Ends the name of an option that no environment variable may set. Only CAF
/// 1.x reads the environment.
inline constexpr const char* no_environment = TROUPE_CAF_1 ? ",," : "";

/// Returns `word` in the type that CAF's own options have for a choice of
/// words, such as the scheduler's policy.
caf::config_value config_word(const std::string& word);

/// Returns where a config file is looked for if none is named; the first that
/// exists counts.
std::vector<std::string> default_config_files(caf::actor_system_config& cfg);

/// Returns the value that the environment has for `option`, if any.
std::optional<std::string> environment_of(const caf::config_option& option);

/// Checks that `value` has the type of `option`, converts it where CAF does,
/// and stores it in the variable behind the option. Returns false for a wrong
/// type.
bool assign(const caf::config_option& option, caf::config_value& value);

/// As above, for a value that comes as text.
bool assign(const caf::config_option& option, const std::string& text,
            caf::config_value& result);

/// Returns the text of a value as a user would type it on the command line.
std::string text_of(const caf::config_value& value);

/// Prints all settings to standard output, as `--dump-config` does.
void print_config(caf::actor_system_config& cfg);

/// One `key = value` of a config file.
struct config_entry {
  /// The full key: names of groups and the key itself, joined by dots.
  std::string key;
  caf::config_value value;
  /// The value as the file spells it, or nearly so for strings and lists.
  std::string text;
  /// Counts from 1.
  std::size_t line;
};

/// What is in a config file, in the order of the file.
struct config_content {
  std::vector<config_entry> entries;
  /// Where the syntax is broken, from 1; 0: nowhere.
  std::size_t error_line = 0;
  /// What is wrong there, in a few words.
  std::string error;
};

/// Parses the text of a config file, in the syntax of this CAF. In contrast to
/// CAF's own function, a file that ends too early is an error, and groups that
/// are opened twice are merged.
config_content parse_config(const std::string& text);

} // namespace troupe::compat
