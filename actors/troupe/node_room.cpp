#include "troupe/node_room.hpp"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include <fmt/format.h>

#include "troupe/defaults.hpp"
#include "troupe/dispatcher.hpp"
#include "troupe/final_failure.hpp"
#include "troupe/log.hpp"
#include "troupe/messages.hpp"
#include "troupe/node_address.hpp"
#include "troupe/readable.hpp"
#include "troupe/remote_failure.hpp"

namespace troupe {

// A chunk of calls that is under way, as its worker sees it; guarded by the
// room.
struct node_session::chunk {
  explicit chunk(std::uint32_t calls) noexcept : size{calls} {}

  bool has_news() const noexcept {
    return !fresh.empty() || given_back < told || last || lost;
  }

  const std::uint32_t size;
  std::condition_variable_any changed;
  // Answers that the worker has not taken yet, and how many there are in all.
  std::vector<wire::call_answer> fresh;
  std::uint32_t answered = 0;
  // How long the node has been at it.
  std::chrono::nanoseconds took{0};
  // Calls from here on will not be made; and as far as the worker knows.
  std::uint32_t given_back = 0xFFFF'FFFF;
  std::uint32_t told = 0xFFFF'FFFF;
  // Nothing more will come: the node has said so, or is lost.
  bool last = false;
  bool lost = false;
  std::string why;
};

namespace {

bool knows(const node_session& node, const procedure_info& what) {
  auto at = node.signatures.find(std::string{what.name});
  return at != node.signatures.end() && at->second == what.signature;
}

// In words that follow the name of the node.
std::string why_not(const node_session& node, const procedure_info& what) {
  auto at = node.signatures.find(std::string{what.name});
  if (at != node.signatures.end())
    return fmt::format("has it as {}", at->second);
  if (node.signatures.empty())
    return "has no procedures at all";
  std::string names;
  std::size_t shown = 0;
  for (const auto& [name, signature] : node.signatures) {
    if (++shown > 20) {
      names += ", ...";
      break;
    }
    names += fmt::format("{}'{}'", names.empty() ? "" : ", ", name);
  }
  return fmt::format("has only {}", names);
}

// How a call's process was lost, by what the node says of it.
std::string how_lost(const wire::call_answer& answer,
                     const procedure_info& what) {
  std::string_view text{answer.text};
  if (auto usual = fmt::format("procedure '{}' was lost with ", what.name);
      text.starts_with(usual))
    text.remove_prefix(usual.size());
  return std::string{text};
}

constexpr auto last_code = static_cast<std::uint8_t>(ec::bad_message);

} // namespace

// A worker's slot, and what it has under way there.
class node_room::under_way {
public:
  under_way(node_room& room, std::shared_ptr<node_session> where,
            std::uint32_t calls)
      : node{std::move(where)}, mine{calls}, room_{room} {
    std::lock_guard guard{room_.mutex_};
    id = ++room_.last_chunk_;
    if (node->over) {
      // Between the two locks.
      mine.lost = true;
      return;
    }
    node->chunks.emplace(id, &mine);
  }

  under_way(const under_way&) = delete;
  under_way& operator=(const under_way&) = delete;

  ~under_way() {
    std::lock_guard guard{room_.mutex_};
    node->chunks.erase(id);
    --node->busy;
    if (node->draining && !node->over) {
      room_.announce_size();
      return;
    }
    ++room_.changes_;
    room_.freed_.notify_all();
  }

  const std::shared_ptr<node_session> node;
  std::uint64_t id = 0;
  node_session::chunk mine;

private:
  node_room& room_;
};

// -- the calls of a worker ----------------------------------------------------

std::string node_room::write_chunk(const context& ctx,
                                   const procedure_info& what,
                                   const call_chunk& chunk, std::size_t from,
                                   std::size_t to, std::uint64_t id,
                                   std::uint64_t session) {
  wire::calls_message head;
  head.chunk = id;
  head.time_left_ns = wire::forever;
  if (auto until = ctx.deadline(); until != clock::time_point::max()) {
    std::chrono::nanoseconds left = until - ctx.cell().home().time().now();
    head.time_left_ns =
        static_cast<std::uint64_t>(std::max<std::int64_t>(left.count(), 0));
  }
  // One that is to run again must not be overtaken by those behind it.
  head.stop_at_failure = chunk.stop_at_failure || what.idempotent;
  head.name = what.name;
  head.signature = what.signature;
  std::vector<const compat::byte_buffer*> arguments;
  arguments.reserve(to - from);
  for (auto i = from; i < to; ++i)
    arguments.push_back(&chunk.calls[i].arguments);
  return wire::write_calls(session, head, arguments);
}

// Makes the calls of a chunk for a worker, on one node after another if it
// must.
class node_room::call_maker {
public:
  call_maker(node_room& room, context& ctx, const procedure_info& what,
             call_chunk& chunk)
      : room_{room},
        ctx_{ctx},
        what_{what},
        chunk_{chunk},
        stop_{ctx.stop_token()},
        key_{loss_book::key_of(worker_cell::current_batch())} {}

  /// Returns how many calls have their outcome; the others have not begun.
  std::size_t run() {
    if (first_is_too_large() || first_has_cost_too_much())
      return 1;
    while (!try_a_node()) {
    }
    return made_;
  }

private:
  // Keeps as many as may be in one message; the others are given back. Returns
  // whether the first one is larger than that, and has failed.
  bool first_is_too_large() {
    auto most_bytes = room_.settings.max_message;
    auto calls = chunk_.calls;
    for (std::uint64_t bytes = 0; n_ < calls.size() && n_ < wire::most_calls;
         ++n_) {
      auto size = calls[n_].arguments.size();
      if (size > most_bytes && n_ == 0) {
        auto [has, most] = readable_bytes(size, most_bytes);
        calls[0].failure = std::make_exception_ptr(
            failure{ec::too_large,
                    fmt::format("the arguments of procedure '{}' are {}, more "
                                "than max_message = {}; it was not called",
                                what_.name, has, most)});
        return true;
      }
      bytes += size;
      if (n_ > 0 && bytes > most_bytes)
        break;
    }
    return false;
  }

  // Keeps those before the first one that has cost as much as it may; they go
  // before it. Returns whether there are none, so that it has failed.
  bool first_has_cost_too_much() {
    if (!key_.may_come_again() || !room_.losses_.has_losses())
      return false;
    for (std::size_t i = 0; i < n_; ++i) {
      auto why = room_.losses_.why_not_again(key_of(i));
      if (why.empty())
        continue;
      n_ = i;
      if (i > 0)
        return false;
      chunk_.calls[0].failure = std::make_exception_ptr(final_failure{
          ec::worker_lost,
          fmt::format("procedure '{}' is not run again: {}", what_.name, why),
          true, key_.owner});
      return true;
    }
    return false;
  }

  // Returns whether the worker is done with the chunk; else what has no outcome
  // goes elsewhere.
  bool try_a_node() {
    // What is thrown from here on belongs to the first one without an outcome.
    if (made_ > 0)
      chunk_.done(made_);
    base_ = made_;
    again_ = nullptr;
    under_way way{room_, room_.acquire(ctx_, what_, stop_),
                  static_cast<std::uint32_t>(n_ - base_)};
    auto& link = *way.node->link;
    auto sent = link.send(
        write_chunk(ctx_, what_, chunk_, base_, n_, way.id, link.session()),
        way.id, stop_);
    lock guard{room_.mutex_};
    listen(way, guard);
    if (made_ >= n_)
      return true;
    if (again_) {
      if (goes_elsewhere(made_ + 1))
        return false;
      fail(again_);
      return true;
    }
    if (way.mine.lost && !way.mine.last && sent)
      return lose_node(way);
    // What has its outcome is delivered, and the rest given back.
    if (made_ > base_)
      return true;
    if (!stop_.stop_requested())
      return false;
    if (made_ == 0)
      room_.throw_stopped(
          ctx_, what_,
          fmt::format("it had not begun on node '{}'", way.node->name));
    return true;
  }

  // Takes in what the node says of the calls, until nothing more will come.
  void listen(under_way& way, lock& guard) {
    auto& mine = way.mine;
    auto& link = *way.node->link;
    const auto took = chunk_.took.value_or(std::chrono::nanoseconds{0});
    auto cancelled = false;
    for (;;) {
      auto news = [&mine] { return mine.has_news(); };
      if (cancelled) {
        mine.changed.wait(guard, news);
      } else if (!mine.changed.wait(guard, stop_, news)) {
        // The node stops what runs, and says when it has stopped.
        cancelled = true;
        link.post(wire::write(link.session(), wire::kind::cancel,
                              wire::chunk_message{way.id, 0}));
        continue;
      }
      auto answers = std::move(mine.fresh);
      mine.fresh.clear();
      chunk_.took = took + mine.took;
      auto over = mine.last || mine.lost;
      auto gave_back =
          std::exchange(mine.told, mine.given_back) != mine.given_back;
      if (gave_back)
        n_ = base_ + mine.told;
      if (!answers.empty() || gave_back) {
        guard.unlock();
        auto before = made_;
        take(answers, *way.node, cancelled);
        if (made_ > before && !over)
          chunk_.done(made_);
        if (gave_back && !over)
          chunk_.give_back(n_);
        guard.lock();
      }
      // While the lock was open, more may have come.
      if ((mine.last || mine.lost) && mine.fresh.empty())
        return;
    }
  }

  // Up to one that is to run once more.
  void take(std::vector<wire::call_answer>& answers, const node_session& from,
            bool cancelled) {
    for (auto& x : answers) {
      if (again_)
        return;
      if (x.kind == wire::answer_kind::value) {
        chunk_.calls[made_++].result = std::move(x.result);
        continue;
      }
      if (x.kind != wire::answer_kind::failed
          || x.code != static_cast<std::uint8_t>(ec::worker_lost)) {
        fail(room_.failure_of(x, what_, from));
        continue;
      }
      auto why = x.started ? note_lost(how_lost(x, what_)) : std::string{};
      auto text = fmt::format(
          "{} (on node '{}'){}", x.text, from.name,
          made_ < tried_ ? "; it had been run twice, since it is idempotent"
                         : "");
      auto lost = failure_of_lost(ec::worker_lost, text, x.started, why);
      if (why.empty() && may_run_twice() && !cancelled)
        again_ = lost;
      else
        fail(lost);
    }
  }

  // The node is gone, and with it what it had to run. Returns as `try_a_node`.
  bool lose_node(const under_way& way) {
    auto& node = *way.node;
    // Of those that travelled together, the first one is what ran.
    auto why = note_lost(fmt::format("node '{}', {}", node.name, way.mine.why));
    if (why.empty() && goes_elsewhere(n_))
      return false;
    auto text = fmt::format(
        "node '{}' ({}) was lost while it had procedure '{}' to run: {}; it "
        "may have run{}",
        node.name, node.place, what_.name, way.mine.why,
        made_ < tried_ ? " twice, since it is idempotent" : "");
    // Others may have run, too, and may do so once more.
    if (!why.empty() && may_run_twice())
      n_ = made_ + 1;
    fail(failure_of_lost(ec::node_lost, text, true, why));
    while (made_ < n_)
      fail(failure_of_lost(ec::node_lost, text, true, {}));
    return true;
  }

  // Whether the first call without an outcome, which has begun, may begin once
  // more.
  bool may_run_twice() const noexcept {
    return what_.idempotent && made_ >= tried_;
  }

  // Has calls up to `until` run once more, on another node, if they may.
  bool goes_elsewhere(std::size_t until) {
    if (!may_run_twice() || stop_.stop_requested())
      return false;
    room_.counts_.moved += until - made_;
    tried_ = until;
    return true;
  }

  // Notes that the first call without an outcome has cost a process or a node.
  // Returns why it is not run again, also if it is tried again; or nothing.
  std::string note_lost(const std::string& why) {
    if (!key_.may_come_again())
      return {};
    auto key = key_of(made_);
    room_.losses_.note_lost(key, why);
    return room_.losses_.why_not_again(key);
  }

  // Says at once that it is not run again, and not when it comes again, so that
  // nobody waits for that.
  std::exception_ptr failure_of_lost(ec code, const std::string& text,
                                     bool started,
                                     const std::string& not_again) const {
    if (not_again.empty())
      return std::make_exception_ptr(failure{code, text, started});
    return std::make_exception_ptr(final_failure{
        code, fmt::format("{}; it is not run again: {}", text, not_again),
        started, key_.owner});
  }

  // The outcome of the first call that has none.
  void fail(std::exception_ptr why) {
    chunk_.calls[made_++].failure = std::move(why);
  }

  loss_book::request_key key_of(std::size_t i) const {
    auto result = key_;
    result.arguments = hash_of(what_, chunk_.calls[i].arguments);
    return result;
  }

  node_room& room_;
  context& ctx_;
  const procedure_info& what_;
  call_chunk& chunk_;
  const std::stop_token stop_;
  // But for the arguments.
  const loss_book::request_key key_;
  // How many calls have not been given back.
  std::size_t n_ = 0;
  // How many have their outcome: now, and when the latest node got the others.
  std::size_t made_ = 0;
  std::size_t base_ = 0;
  // Those before this one may have run once already.
  std::size_t tried_ = 0;
  // How the first one without an outcome failed, if it is to run once more.
  std::exception_ptr again_;
};

std::size_t node_room::make(context& ctx, const procedure_info& what,
                            call_chunk& chunk) {
  return call_maker{*this, ctx, what, chunk}.run();
}

std::shared_ptr<node_session> node_room::acquire(const context& ctx,
                                                 const procedure_info& what,
                                                 const std::stop_token& stop) {
  lock guard{mutex_};
  for (;;) {
    if (closed_)
      throw failure{ec::pool_stopped,
                    fmt::format("the pool '{}' has ended", settings.pool)};
    if (stop.stop_requested())
      throw_stopped(ctx, what, "it had no node yet");
    std::shared_ptr<node_session> best;
    auto some = false;
    auto known = false;
    for (const auto& x : sessions_) {
      if (x->draining)
        continue;
      some = true;
      if (!knows(*x, what))
        continue;
      known = true;
      if (x->busy >= x->slots)
        continue;
      auto free = x->slots - x->busy;
      if (!best || free > best->slots - best->busy
          || (free == best->slots - best->busy
              && x->last_used < best->last_used))
        best = x;
    }
    if (best) {
      ++best->busy;
      best->last_used = ++last_use_;
      return best;
    }
    if (some && !known)
      throw_unknown(what);
    freed_.wait(guard, stop,
                [this, before = changes_] { return changes_ != before; });
  }
}

// -- how calls fail -----------------------------------------------------------

void node_room::throw_unknown(const procedure_info& what) const {
  std::string others;
  for (const auto& x : sessions_)
    if (!x->draining)
      others += fmt::format("{}node '{}' ({}) {}", others.empty() ? "" : "; ",
                            x->name, x->place, why_not(*x, what));
  throw failure{
      ec::unknown_procedure,
      fmt::format("the caller, process {} ({}) with the pool '{}', asks for "
                  "procedure {}; {}",
                  ::getpid(), program_invocation_short_name, settings.pool,
                  what.text(), others)};
}

void node_room::throw_stopped(const context& ctx, const procedure_info& what,
                              const std::string& where) const {
  auto late = ctx.cell().home().time().now() >= ctx.deadline();
  throw failure{
      late ? ec::deadline_exceeded : ec::cancelled,
      fmt::format("procedure '{}' was asked to stop; {}", what.name, where)};
}

std::exception_ptr node_room::failure_of(const wire::call_answer& x,
                                         const procedure_info& what,
                                         const node_session& from) const {
  if (x.kind == wire::answer_kind::threw)
    return std::make_exception_ptr(
        remote_failure{x.type, x.text, static_cast<int>(x.pid), from.name});
  if (x.code < static_cast<std::uint8_t>(ec::request_failed)
      || x.code > last_code)
    return std::make_exception_ptr(
        failure{ec::bad_message,
                fmt::format("procedure '{}' failed on node '{}' with the code "
                            "{}, which is none",
                            what.name, from.name, x.code),
                true});
  return std::make_exception_ptr(
      failure{static_cast<ec>(x.code),
              fmt::format("{} (on node '{}')", x.text, from.name), x.started});
}

// -- nodes that come and go ---------------------------------------------------

void node_room::bind(const caf::actor& coordinator) {
  std::lock_guard guard{mutex_};
  coordinator_ = coordinator.address();
  announce_size();
}

void node_room::set_door(const caf::actor& door) {
  std::lock_guard guard{mutex_};
  door_ = door.address();
}

// Under the lock, so that the last number is the one that holds.
void node_room::announce_size() {
  std::uint64_t slots = 0;
  // What a node that leaves still runs, keeps workers busy.
  for (const auto& x : sessions_)
    slots += x->draining ? x->busy : x->slots;
  ++changes_;
  freed_.notify_all();
  if (auto to = caf::actor_cast<caf::actor>(coordinator_))
    compat::tell(to, resize_atom_v,
                 std::min<std::uint64_t>(slots, defaults::workers_limit));
}

std::string node_room::welcome(const std::shared_ptr<node_session>& session,
                               const caf::actor& ear) {
  session->ear = ear.address();
  std::shared_ptr<node_session> former;
  {
    std::lock_guard guard{mutex_};
    if (closed_) {
      session->over = true;
      return "the pool has ended";
    }
    auto all = sessions_;
    all.insert(all.end(), arriving_.begin(), arriving_.end());
    for (const auto& x : all) {
      if (x->incarnation == session->incarnation) {
        former = x;
      } else if (x->id == session->id) {
        // CAF could not tell them apart, and would mix up their messages.
        session->over = true;
        return fmt::format(
            "CAF calls it by the same ID as node '{}' ({}), which is here "
            "already: CAF makes IDs of the process ID and the addresses of the "
            "machine, which two containers may have in common; start one of "
            "them again",
            x->name, x->place);
      }
    }
  }
  if (former)
    end(*former, "it has begun another session", false);
  std::lock_guard guard{mutex_};
  session->link->greet(
      wire::write(
          session->number,
          wire::welcome_message{
              settings.pool, this_place(),
              static_cast<std::uint64_t>(settings.heartbeat.count()),
              static_cast<std::uint64_t>(settings.timeout.count()),
              settings.window, settings.max_message,
              static_cast<std::uint64_t>(settings.max_run_time.count())}),
      ear);
  arriving_.push_back(session);
  return {};
}

void node_room::take_in(const node_session& session) {
  std::lock_guard guard{mutex_};
  auto at = std::find_if(arriving_.begin(), arriving_.end(),
                         [&](const auto& x) { return x.get() == &session; });
  if (at == arriving_.end())
    return;
  sessions_.push_back(std::move(*at));
  arriving_.erase(at);
  ++counts_.joined;
  announce_size();
  write_log(log_level::info, settings.pool,
            fmt::format("node '{}' ({}) has joined with {} slot{}",
                        session.name, session.place, session.slots,
                        session.slots == 1 ? "" : "s"));
}

void node_room::count_refused(std::uint64_t n) {
  std::lock_guard guard{mutex_};
  counts_.refused += n;
}

void node_room::end(node_session& session, const std::string& why,
                    bool in_order) {
  {
    std::lock_guard guard{mutex_};
    if (session.over)
      return;
    session.over = true;
    auto is_it = [&](const auto& x) { return x.get() == &session; };
    std::erase_if(arriving_, is_it);
    auto had_joined = std::erase_if(sessions_, is_it) > 0;
    for (auto& [id, chunk] : session.chunks) {
      chunk->lost = true;
      chunk->why = why;
      chunk->changed.notify_all();
    }
    if (had_joined)
      ++(in_order ? counts_.left : counts_.lost);
    announce_size();
  }
  session.link->close();
  write_log(in_order ? log_level::info : log_level::warning, settings.pool,
            fmt::format("node '{}' ({}) {}: {}", session.name, session.place,
                        in_order ? "has left" : "is lost", why));
}

void node_room::close() {
  std::vector<caf::actor_addr> all;
  {
    std::lock_guard guard{mutex_};
    if (closed_)
      return;
    closed_ = true;
    ++changes_;
    freed_.notify_all();
    all.push_back(door_);
    for (const auto& x : arriving_)
      all.push_back(x->ear);
    for (const auto& x : sessions_)
      all.push_back(x->ear);
  }
  for (const auto& x : all)
    if (auto to = caf::actor_cast<caf::actor>(x))
      compat::tell(to, leave_atom_v);
}

// -- what a node says ---------------------------------------------------------

std::string node_room::handle(node_session& from, const std::string& message) {
  switch (wire::read_header(message)->kind) {
  case wire::kind::ping:
    return {};
  case wire::kind::ack: {
    auto bytes = wire::read_ack(message);
    if (!bytes)
      return "an acknowledgement that does not decode";
    from.link->acked(*bytes);
    return {};
  }
  case wire::kind::drain: {
    std::lock_guard guard{mutex_};
    if (!from.draining && !from.over) {
      from.draining = true;
      announce_size();
      write_log(log_level::info, settings.pool,
                fmt::format("node '{}' ({}) takes no more calls", from.name,
                            from.place));
    }
    return {};
  }
  case wire::kind::give_back: {
    auto what = wire::read_chunk(message);
    if (!what)
      return "a message that does not decode";
    std::lock_guard guard{mutex_};
    auto at = from.chunks.find(what->chunk);
    if (at == from.chunks.end())
      return {};
    auto& chunk = *at->second;
    // The one before them may just have been answered.
    if (what->from < std::max(chunk.answered, 1u)
        || what->from > chunk.given_back)
      return "calls given back that it has answered";
    chunk.given_back = std::min(what->from, chunk.size);
    chunk.changed.notify_all();
    return {};
  }
  case wire::kind::answers: {
    auto what = wire::read_answers(message);
    if (!what)
      return "answers that do not decode";
    std::lock_guard guard{mutex_};
    auto at = from.chunks.find(what->chunk);
    // Of one that is over: it was cancelled, or answered before.
    if (at == from.chunks.end() || at->second->last)
      return {};
    auto& chunk = *at->second;
    if (what->first != chunk.answered
        || what->answers.size() > chunk.size - chunk.answered)
      return "answers to what it was not asked";
    chunk.answered += static_cast<std::uint32_t>(what->answers.size());
    from.answered += what->answers.size();
    for (auto& x : what->answers)
      chunk.fresh.push_back(std::move(x));
    chunk.last = what->last;
    chunk.took = std::chrono::nanoseconds{
        static_cast<std::int64_t>(std::min<std::uint64_t>(
            what->took_ns, defaults::duration_limit.count()))};
    chunk.changed.notify_all();
    return {};
  }
  default:
    return "a message that a node has no business to send";
  }
}

node_stats node_room::stats() const {
  std::lock_guard guard{mutex_};
  auto result = counts_;
  for (const auto& x : sessions_)
    result.nodes.push_back({x->name, x->place, x->slots, x->busy, x->answered,
                            x->link->under_way(), x->draining});
  return result;
}

} // namespace troupe
