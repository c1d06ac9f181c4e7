// A node's side of its stay in a pool: says hello, has the calls that come made
// by the worker processes of this machine, and sends back what came of them.
// Never runs user code itself: a crash or a hang costs a process, not the node.

#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>

#include <caf/event_based_actor.hpp>

#include "troupe/node_link.hpp"
#include "troupe/process_pool.hpp"
#include "troupe/timer.hpp"

namespace troupe {

/// How a stay ended.
struct stay_end {
  enum class how : std::uint8_t {
    /// The pool had no use for the node.
    refused,
    /// The connection broke, or the pool fell silent.
    lost,
    /// One side said that it leaves.
    left,
  };

  how why = how::lost;
  std::string text;
};

/// Told, on the agent's thread, what becomes of a stay.
struct stay_hooks {
  /// Returns the pool that makes the calls.
  std::function<process_pool(const wire::welcome_message&)> on_welcome;
  std::function<void(const stay_end&)> on_end;
};

/// Understands messages of the pool; `drain_atom` from its program: take no
/// more calls, finish what runs, and leave; and `drain_atom` with a reason:
/// leave now, what runs is ended.
class node_agent : public caf::event_based_actor {
public:
  /// `known` are the procedures of the processes that make the calls;
  /// `patience` is how long the pool may take to answer the hello.
  node_agent(caf::actor_config& cfg, procedures known, caf::actor door,
             std::uint64_t session, wire::hello_message hello,
             std::chrono::nanoseconds patience, stay_hooks hooks);

  caf::behavior make_behavior() override;

  const char* name() const override { return "troupe.node_agent"; }

  void on_exit() override;

private:
  class chunk;
  struct received_calls;

  void hear(std::string& message);
  void hear_first(const std::string& message, const caf::actor& ear);
  void begin(wire::calls_message& what);
  void cancel(std::uint64_t id);
  void finish(std::uint64_t id);
  void beat();
  void beat_later();
  void leave_if_drained();
  void leave_now(const std::string& why);
  void part(std::string why);
  void end(stay_end::how why, const std::string& text);

  // None before the welcome.
  std::optional<process_pool> calls_;
  const procedures known_;
  caf::actor door_;
  const std::uint64_t session_;
  const wire::hello_message hello_;
  const stay_hooks hooks_;
  std::shared_ptr<node_link> link_;
  std::optional<node_inbox> inbox_;
  std::optional<node_pulse> pulse_;
  // Before the welcome, how long that may take.
  std::chrono::nanoseconds heartbeat_;
  std::uint64_t max_message_ = 0;
  std::map<std::uint64_t, std::shared_ptr<chunk>> chunks_;
  bool draining_ = false;
  // Why it leaves, once it has told the pool so.
  std::string parting_;
  bool ended_ = false;
  timer_id timer_;
  timer_id parting_timer_;
  caf::strong_actor_ptr self_;
};

} // namespace troupe
