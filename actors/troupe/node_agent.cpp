#include "troupe/node_agent.hpp"

#include <algorithm>
#include <atomic>
#include <stop_token>
#include <typeindex>

#include <fmt/format.h>

#include "troupe/dispatcher.hpp"
#include "troupe/messages.hpp"
#include "troupe/options.hpp"
#include "troupe/readable.hpp"

namespace troupe {

namespace {

using std::chrono::steady_clock;

// How long what has arrived may take until it is read. A guess: a hundred times
// what it takes.
constexpr std::chrono::nanoseconds farewell_time =
    std::chrono::milliseconds{100};

// How long the pool may take to answer a farewell for which nothing runs any
// more. A guess: a thousand times what it needs.
constexpr std::chrono::nanoseconds parting_time = std::chrono::seconds{1};

// Answers that are collected to go in one message.
constexpr std::uint64_t collected_bytes = 64 * 1024;

wire::call_answer answer_of(const std::exception_ptr& why) {
  wire::call_answer result;
  try {
    std::rethrow_exception(why);
  } catch (const remote_failure& err) {
    result.kind = wire::answer_kind::threw;
    result.pid = static_cast<std::uint32_t>(err.pid());
    result.type = err.type_name();
    result.text = err.message();
  } catch (const failure& err) {
    result.kind = wire::answer_kind::failed;
    result.code = static_cast<std::uint8_t>(err.code());
    result.started = err.started();
    result.text = err.what();
  } catch (...) {
    result.kind = wire::answer_kind::failed;
    result.code = static_cast<std::uint8_t>(ec::request_failed);
    result.started = true;
    result.text = describe(why);
  }
  return result;
}

void say_that_none_began(node_link& link, std::uint64_t chunk) {
  wire::answers_message message;
  message.chunk = chunk;
  message.last = true;
  link.post(wire::write(link.session(), message));
}

} // namespace

// Owns the calls of a chunk, which refers to them.
struct node_agent::received_calls {
  explicit received_calls(wire::calls_message& from)
      : head{std::move(from)}, all(head.arguments.size()) {
    for (std::size_t i = 0; i < all.size(); ++i)
      all[i].arguments = std::move(head.arguments[i]);
  }

  wire::calls_message head;
  std::vector<remote_call> all;
};

// Calls that came in one message. Made by a worker of the process pool, which
// also sends the answers: so a link that is slow holds up this slot and nothing
// else.
class node_agent::chunk final : received_calls, public call_chunk {
public:
  chunk(wire::calls_message& from, const procedures& known,
        std::shared_ptr<node_link> link, std::uint64_t max_message)
      : received_calls{from},
        call_chunk{all},
        link_{std::move(link)},
        max_message_{max_message} {
    // Both sides have spelled the signature; the type is this program's own.
    auto entry = known.find(head.name);
    if (entry != nullptr && entry->signature == head.signature)
      type_ = entry->type;
    stop_at_failure = head.stop_at_failure;
  }

  std::uint64_t id() const noexcept { return head.chunk; }

  std::uint64_t time_left() const noexcept { return head.time_left_ns; }

  // Whoever takes it says how it ends: its worker, or, if that never begins,
  // the agent.
  bool take() noexcept { return !taken_.exchange(true); }

  void run(troupe::context& ctx) {
    began_ = steady_clock::now();
    procedure_info what{head.name, head.signature, type_};
    std::size_t made = 0;
    try {
      made = host_of(ctx, what).call_many(ctx, what, *this);
    } catch (...) {
      // Of the first one that has no outcome.
      made = told_;
      if (made < calls.size() && !ctx_stopped_before_it_began(ctx, made)) {
        calls[made].failure = std::current_exception();
        ++made;
      }
    }
    tell(made, true);
  }

  // At once: who says it is the agent, which must not wait for room that only
  // it can hear of.
  void say_that_it_never_began() { say_that_none_began(*link_, id()); }

  void done(std::size_t n) noexcept override { tell(n, false); }

  void give_back(std::size_t n) noexcept override {
    link_->post(
        wire::write(link_->session(), wire::kind::give_back,
                    wire::chunk_message{id(), static_cast<std::uint32_t>(n)}));
  }

  std::stop_source stopper;

private:
  // The operation was stopped, and its call has not been given to a process.
  static bool ctx_stopped_before_it_began(const troupe::context& ctx,
                                          std::size_t made) {
    if (made > 0 || !ctx.stop_token().stop_requested())
      return false;
    try {
      throw;
    } catch (const failure& why) {
      return !why.started();
    } catch (...) {
      return false;
    }
  }

  // Sends what has an outcome and was not sent.
  void tell(std::size_t n, bool last) noexcept {
    try {
      send_answers(n, last);
    } catch (const std::exception&) {
      // No memory for an answer: the pool must not wait for it, and hears by
      // our silence that this node is of no use.
      link_->close();
    }
  }

  void send_answers(std::size_t n, bool last) {
    wire::answers_message message;
    message.chunk = id();
    std::uint64_t bytes = 0;
    auto send = [&] {
      message.last = last && told_ == n;
      message.took_ns =
          static_cast<std::uint64_t>((steady_clock::now() - began_).count());
      link_->send(wire::write(link_->session(), message), id());
      message.answers.clear();
      bytes = 0;
      message.first = static_cast<std::uint32_t>(told_);
    };
    message.first = static_cast<std::uint32_t>(told_);
    while (told_ < n) {
      auto& call = calls[told_];
      auto& x = message.answers.emplace_back();
      if (call.failure) {
        x = answer_of(call.failure);
      } else if (call.result.size() > max_message_) {
        x.kind = wire::answer_kind::failed;
        x.code = static_cast<std::uint8_t>(ec::too_large);
        x.started = true;
        auto [has, most] = readable_bytes(call.result.size(), max_message_);
        x.text = fmt::format("the result of procedure '{}' is {}, more than "
                             "max_message = {}",
                             head.name, has, most);
      } else {
        x.result = std::move(call.result);
      }
      bytes += x.result.size() + x.text.size();
      call = {};
      ++told_;
      if (bytes >= collected_bytes && told_ < n)
        send();
    }
    if (last || !message.answers.empty())
      send();
  }

  const std::shared_ptr<node_link> link_;
  const std::uint64_t max_message_;
  std::type_index type_ = typeid(void);
  std::atomic<bool> taken_{false};
  steady_clock::time_point began_;
  std::size_t told_ = 0;
};

// -- the stay -----------------------------------------------------------------

node_agent::node_agent(caf::actor_config& cfg, procedures known,
                       caf::actor door, std::uint64_t session,
                       wire::hello_message hello,
                       std::chrono::nanoseconds patience, stay_hooks hooks)
    : caf::event_based_actor{cfg},
      known_{std::move(known)},
      door_{std::move(door)},
      session_{session},
      hello_{std::move(hello)},
      hooks_{std::move(hooks)},
      heartbeat_{patience},
      self_{ctrl()} {}

caf::behavior node_agent::make_behavior() {
  auto me = caf::actor_cast<caf::actor>(self_);
  auto watch = [addr = address()](const caf::actor& whom) {
    whom->attach_functor([addr](const caf::error&) {
      if (auto to = caf::actor_cast<caf::actor>(addr))
        compat::tell(to, leave_atom_v, std::string{});
    });
  };
  pulse_.emplace(heartbeat_, heartbeat_ / 2, steady_clock::now());
  watch(door_);
  compat::tell(door_, node_atom_v, wire::write(session_, hello_), me);
  beat_later();
  return {
      [this, watch](node_atom, const std::string& message,
                    const caf::actor& ear) {
        if (link_ || !ear)
          return;
        watch(ear);
        hear_first(message, ear);
      },
      [this](node_atom, std::string& message) {
        if (link_)
          hear(message);
        else
          hear_first(message, {});
      },
      [this](tick_atom) { beat(); },
      [this](done_atom, std::uint64_t id) { finish(id); },
      [this](drain_atom) {
        if (draining_)
          return;
        draining_ = true;
        if (!link_) {
          end(stay_end::how::left, "it was told to leave");
          return;
        }
        link_->post(wire::write_text(session_, wire::kind::drain, {}));
        leave_if_drained();
      },
      [this](drain_atom, const std::string& why) { leave_now(why); },
      [this](expire_atom) {
        end(stay_end::how::left,
            fmt::format("{}; the pool does not answer", parting_));
      },
      // CAF passes this on before messages that came first, such as a farewell.
      [me](leave_atom, const std::string&) {
        compat::tell_after(farewell_time, me, leave_atom_v, std::uint64_t{1});
      },
      [this](leave_atom, std::uint64_t) {
        end(stay_end::how::lost, "the connection broke");
      },
  };
}

void node_agent::on_exit() {
  end(stay_end::how::lost, "its session was ended from outside");
  stop_timer(timer_);
  stop_timer(parting_timer_);
  chunks_.clear();
  door_ = nullptr;
  self_ = nullptr;
}

void node_agent::end(stay_end::how why, const std::string& text) {
  if (ended_)
    return;
  ended_ = true;
  if (link_)
    link_->close();
  // Nobody can be told what comes of them.
  for (auto& [id, calls] : chunks_)
    calls->stopper.request_stop();
  hooks_.on_end({why, text});
  quit();
}

void node_agent::hear_first(const std::string& message, const caf::actor& ear) {
  auto head = wire::read_header(message);
  if (!head || head->session != session_)
    return;
  if (head->kind == wire::kind::refusal) {
    auto why = wire::read_refusal(message);
    end(stay_end::how::refused, why ? why->text : "it does not say why");
    return;
  }
  auto welcome = head->kind == wire::kind::welcome ? wire::read_welcome(message)
                                                   : std::nullopt;
  if (!welcome || !ear || welcome->heartbeat_ns == 0
      || welcome->window < 4 * wire::piece_size) {
    end(stay_end::how::lost, "it answers with something that is no welcome");
    return;
  }
  link_ = std::make_shared<node_link>(ear, session_, welcome->window);
  max_message_ = welcome->max_message;
  inbox_.emplace(welcome->window, max_message_ + wire::overhead, hello_.slots);
  heartbeat_ = std::chrono::nanoseconds{welcome->heartbeat_ns};
  pulse_.emplace(heartbeat_, std::chrono::nanoseconds{welcome->timeout_ns},
                 steady_clock::now());
  // The pool sends no calls before it has heard that the welcome arrived.
  link_->post(wire::write_text(session_, wire::kind::ping, {}));
  calls_.emplace(hooks_.on_welcome(*welcome));
  beat_later();
}

// By a timer of ours: CAF's would keep this actor when it has ended.
void node_agent::beat_later() {
  stop_timer(timer_);
  timer_ =
      start_timer(troupe::steady_clock(),
                  troupe::steady_clock().now() + heartbeat_, [me = address()] {
                    if (auto to = caf::actor_cast<caf::actor>(me))
                      compat::tell(to, tick_atom_v);
                  });
}

void node_agent::beat() {
  if (pulse_->is_lost(steady_clock::now())) {
    end(stay_end::how::lost,
        link_ ? "no sign of life"
              : fmt::format("no welcome within {}", to_text(heartbeat_)));
    return;
  }
  if (link_)
    link_->post(wire::write_text(session_, wire::kind::ping, {}));
  beat_later();
}

void node_agent::hear(std::string& message) {
  pulse_->heard(steady_clock::now());
  auto whole = inbox_->take(message, *link_);
  auto garbage = [this] {
    end(stay_end::how::lost, "it sent a message that makes no sense");
  };
  if (!whole) {
    garbage();
    return;
  }
  if (whole->empty())
    return;
  switch (wire::read_header(*whole)->kind) {
  case wire::kind::ping:
    return;
  case wire::kind::ack:
    if (auto bytes = wire::read_ack(*whole))
      link_->acked(*bytes);
    else
      garbage();
    return;
  case wire::kind::calls:
    if (auto calls = wire::read_calls(*whole))
      begin(*calls);
    else
      garbage();
    return;
  case wire::kind::cancel:
    if (auto which = wire::read_chunk(*whole))
      cancel(which->chunk);
    else
      garbage();
    return;
  case wire::kind::bye:
    end(stay_end::how::left,
        parting_.empty()
            ? wire::read_text(*whole).value_or("it does not say why")
            : parting_);
    return;
  default:
    garbage();
  }
}

// -- calls --------------------------------------------------------------------

void node_agent::begin(wire::calls_message& what) {
  auto made = std::make_shared<chunk>(what, known_, link_, max_message_);
  // What crossed with our word that we take no more.
  if (draining_) {
    made->say_that_it_never_began();
    return;
  }
  if (!chunks_.emplace(made->id(), made).second) {
    end(stay_end::how::lost, "it sent the same calls twice");
    return;
  }
  auto me = address();
  auto op = calls_->run([made, me](troupe::context& ctx) {
    if (!made->take())
      return;
    made->run(ctx);
    if (auto to = caf::actor_cast<caf::actor>(me))
      compat::tell(to, done_atom_v, made->id());
  });
  auto limited = std::move(op).stop_with(made->stopper.get_token());
  auto never_began = [this, made](const caf::error&) {
    if (!made->take())
      return;
    made->say_that_it_never_began();
    finish(made->id());
  };
  if (made->time_left() == wire::forever) {
    std::move(limited).then(
        this, [] {}, never_began);
    return;
  }
  auto left = std::chrono::nanoseconds{
      static_cast<std::int64_t>(std::min<std::uint64_t>(
          made->time_left(), defaults::duration_limit.count()))};
  std::move(limited).timeout(left).then(
      this, [] {}, never_began);
}

void node_agent::cancel(std::uint64_t id) {
  auto at = chunks_.find(id);
  if (at != chunks_.end()) {
    at->second->stopper.request_stop();
    return;
  }
  // Some of its pieces may be here, and the rest will not come. Or it is over,
  // and the answers are on their way; then nobody waits for this one.
  inbox_->drop(id);
  say_that_none_began(*link_, id);
}

void node_agent::finish(std::uint64_t id) {
  chunks_.erase(id);
  leave_if_drained();
}

void node_agent::leave_if_drained() {
  if (draining_ && chunks_.empty())
    part("it has finished its calls");
}

// Nothing may run on: the pool hears why, and how much it has lost by that.
void node_agent::leave_now(const std::string& why) {
  if (!link_ || !parting_.empty()) {
    end(stay_end::how::left, why);
    return;
  }
  draining_ = true;
  auto n = chunks_.size();
  part(fmt::format("{}; {} running call{} cut off", why, n,
                   n == 1 ? " was" : "s were"));
  for (auto& [id, calls] : chunks_)
    calls->stopper.request_stop();
  parting_timer_ = start_timer(troupe::steady_clock(),
                               troupe::steady_clock().now() + parting_time,
                               [me = address()] {
                                 if (auto to = caf::actor_cast<caf::actor>(me))
                                   compat::tell(to, expire_atom_v);
                               });
}

// The pool answers with the same, and then has all that was sent before.
void node_agent::part(std::string why) {
  if (ended_ || !parting_.empty())
    return;
  parting_ = std::move(why);
  link_->post(wire::write_text(session_, wire::kind::bye, parting_));
}

} // namespace troupe
