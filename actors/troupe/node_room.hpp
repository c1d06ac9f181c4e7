// What the workers of a pool of nodes and the actors that hear of the nodes
// share: who is there, what is free, and which calls are under way. A worker
// takes a slot here, sends its calls, and waits until they are answered, nobody
// wants them any more, or the node is lost.

#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stop_token>
#include <string>
#include <vector>

#include <caf/actor.hpp>
#include <caf/actor_addr.hpp>
#include <caf/node_id.hpp>

#include "troupe/loss_book.hpp"
#include "troupe/node_link.hpp"
#include "troupe/procedure.hpp"

namespace troupe {

/// What all nodes of a pool have in common.
struct node_settings {
  std::string pool;
  std::chrono::nanoseconds heartbeat;
  std::chrono::nanoseconds timeout;
  std::uint64_t window;
  std::uint64_t max_message;
  std::chrono::nanoseconds max_run_time;
  unsigned max_lost;
};

/// A node at one moment.
struct node_info {
  std::string name;
  /// Machine and process, as the node calls them.
  std::string place;
  /// How many calls, or chunks of calls, it makes at once, and how many it is
  /// making.
  std::uint32_t slots;
  std::uint32_t busy;
  /// How many calls it has answered since it joined.
  std::uint64_t answered;
  /// How many bytes were sent to it that it has not taken yet, as far as it has
  /// said.
  std::uint64_t under_way;
  /// Whether it takes no more calls, since it is about to leave.
  bool draining;
};

/// The nodes of a pool at one moment, and what was counted since it began.
struct node_stats {
  std::vector<node_info> nodes;
  /// How many sessions have begun.
  std::uint64_t joined = 0;
  /// How many nodes have said that they leave.
  std::uint64_t left = 0;
  /// How many were lost: killed, cut off, or out of order.
  std::uint64_t lost = 0;
  /// How many were turned away, strangers among them.
  std::uint64_t refused = 0;
  /// How many calls were made again because a node was lost.
  std::uint64_t moved = 0;
};

/// One stay of a node in the pool: from its hello until it leaves or is lost.
/// All but `link` is guarded by the room.
struct node_session {
  std::uint64_t number = 0;
  std::string name;
  std::string place;
  std::string incarnation;
  caf::node_id id;
  std::map<std::string, std::string> signatures;
  std::uint32_t slots = 0;
  std::shared_ptr<node_link> link;
  /// The actor that hears the node.
  caf::actor_addr ear;

  struct chunk;

  std::uint32_t busy = 0;
  std::uint64_t answered = 0;
  std::uint64_t last_used = 0;
  bool draining = false;
  bool over = false;
  std::map<std::uint64_t, chunk*> chunks;
};

/// Invariants: (1) A slot is taken by one worker at a time; `busy` is the
///                 number of those taken.
///             (2) A session that is over is in no list, and each of its chunks
///                 knows why.
///             (3) An answer is taken by its chunk once, in order; what comes
///                 for a chunk that is not there is dropped.
class node_room {
public:
  explicit node_room(node_settings how)
      : settings{std::move(how)},
        losses_{settings.max_lost, "worker process or node",
                "worker processes or nodes"} {}

  node_room(const node_room&) = delete;
  node_room& operator=(const node_room&) = delete;

  const node_settings settings;

  // -- for workers ------------------------------------------------------------

  /// Makes the calls of a chunk, as `procedure_host::call_many`.
  std::size_t make(context& ctx, const procedure_info& what, call_chunk& chunk);

  // -- for the actors ---------------------------------------------------------

  /// Tells the room whom to tell how many workers are of use.
  void bind(const caf::actor& coordinator);

  void set_door(const caf::actor& door);

  /// Welcomes a node and tells it who hears it from now on; ends its former
  /// session, if it has one. Returns why not, or nothing.
  std::string welcome(const std::shared_ptr<node_session>& session,
                      const caf::actor& ear);

  /// Takes a node in that has answered the welcome: calls go there from now on.
  void take_in(const node_session& session);

  void count_refused(std::uint64_t n = 1);

  /// Handles a message of a session. Returns what is wrong with it, or nothing.
  std::string handle(node_session& from, const std::string& message);

  /// Ends a session: its unfinished calls are lost, for `why`. Does nothing if
  /// it is over.
  void end(node_session& session, const std::string& why, bool in_order);

  /// Lets all nodes go. Nobody will call.
  void close();

  node_stats stats() const;

private:
  using lock = std::unique_lock<std::mutex>;

  class under_way;
  class call_maker;

  std::shared_ptr<node_session> acquire(const context& ctx,
                                        const procedure_info& what,
                                        const std::stop_token& stop);
  static std::string write_chunk(const context& ctx, const procedure_info& what,
                                 const call_chunk& chunk, std::size_t from,
                                 std::size_t to, std::uint64_t id,
                                 std::uint64_t session);
  void announce_size();
  [[noreturn]] void throw_unknown(const procedure_info& what) const;
  [[noreturn]] void throw_stopped(const context& ctx,
                                  const procedure_info& what,
                                  const std::string& where) const;
  std::exception_ptr failure_of(const wire::call_answer& answer,
                                const procedure_info& what,
                                const node_session& from) const;

  mutable std::mutex mutex_;
  // Notified when a slot may have become free.
  std::condition_variable_any freed_;
  std::uint64_t changes_ = 0;
  // Those that have not answered the welcome. CAF 0.17 may lose the way to a
  // node that has just connected, and tells nobody.
  std::vector<std::shared_ptr<node_session>> arriving_;
  std::vector<std::shared_ptr<node_session>> sessions_;
  // Weak: the coordinator's end is what ends this.
  caf::actor_addr coordinator_;
  caf::actor_addr door_;
  std::uint64_t last_chunk_ = 0;
  std::uint64_t last_use_ = 0;
  bool closed_ = false;
  node_stats counts_;
  loss_book losses_;
};

} // namespace troupe
