// The messages that troupe's actors understand. Whoever talks to a coordinator,
// an event or one of its relatives without the functions of pool.hpp, event.hpp
// and so on needs this header and no other.
//
// To a coordinator (`pool::actor()`), and what it answers:
//
//   (submit_atom, batch_ref)
//       A completion, when the batch is complete, also if its requests failed
//       or the pool refused them. Make the batch by `make_batch` or
//       `make_map_batch`; its `result()` then returns or throws. Errors:
//       `invalid_option` for an empty batch, `already_consumed` for one that
//       was submitted before, `pool_stopped` if the pool ends first.
//   (stats_atom)
//       A pool_stats, at once.
//   (resize_atom, std::uint64_t)
//       Nothing, at once. Error: `invalid_option` for a count of workers
//       outside 1 to 65536 that is not `automatic`.
//   (subscribe_atom, caf::actor)
//       Nothing, at once. From then on the actor gets a completion for each
//       batch, until it ends. Error: `invalid_option` for an invalid handle.
//   (drain_atom, caf::timespan)
//       A receipt, when the pool has shut down; see `pool::shutdown`. Error:
//       `pool_stopped` if something else ends the pool first.
//
// What a coordinator sends to its subscribers by itself:
//
//   completion
//       For each batch, when it is complete.
//   stuck_request
//       For each call that has run for longer than `max-run-time`, once; only
//       if that is set. Whoever subscribes to such a pool should have a handler
//       for it.
//
// To an event (`event::actor()`), and what it answers:
//
//   (set_atom), (clear_atom)
//       Nothing, when it holds.
//   (is_set_atom)
//       A bool, at once.
//   (wait_atom)
//       Nothing, when the event is set. Error: `owner_gone` if its last handle
//       goes first.
//
// To a latch (`latch::actor()`), and what it answers:
//
//   (count_down_atom), (count_down_atom, std::uint64_t)
//       Nothing, when it has counted 1, or as many. Error: `invalid_option` for
//       more than are missing; then none of them counts.
//   (count_atom)
//       A std::uint64_t, at once: how many are missing.
//   (wait_atom)
//       Nothing, when none is missing. Error: as for an event.
//
// To a barrier (`barrier::actor()`), and what it answers:
//
//   (wait_atom)
//       A std::uint64_t, when all parties wait: who came how many before the
//       sender. Errors: `closed` if the barrier is broken or reset first;
//       `owner_gone` if its last handle goes first.
//   (abort_atom), (reset_atom)
//       Nothing, when it holds.
//   (count_atom)
//       A std::uint64_t, at once: how many wait.
//
// To a semaphore (`semaphore::actor()`), and what it answers:
//
//   (acquire_atom)
//       Nothing, when the sender has a permit. Error: as for an event.
//   (try_acquire_atom)
//       A bool, at once: whether the sender has got a permit.
//   (release_atom)
//       Nothing, when a permit is given back. Error: `invalid_option` beyond
//       the bound; then nothing has happened.
//   (count_atom)
//       A std::uint64_t, at once: how many permits are free.
//
// A sender that ends does not wait any more: it is no party of the barrier, and
// gives back the permits that it has got, and not released, by message. A
// channel has no actor: see channel.hpp.
//
// An answer of nothing is an empty message; errors carry a `troupe::ec`. An
// actor that has ended answers with CAF's own error. All of this stays inside
// one process: a batch cannot travel to another node.

#pragma once

#include "troupe/batch_ref.hpp"
#include "troupe/caf_compat.hpp"
#include "troupe/completion.hpp"
#include "troupe/error.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"
#include "troupe/stats.hpp"

#ifndef TROUPE_FIRST_TYPE_ID
// Far from where applications start to number their own types.
#  define TROUPE_FIRST_TYPE_ID (caf::first_custom_type_id + 700)
#endif

namespace troupe {

/// Carries the record of a failure inside a CAF error.
struct failure_box {
  failure_ptr record;
};

} // namespace troupe

CAF_BEGIN_TYPE_ID_BLOCK(troupe, TROUPE_FIRST_TYPE_ID)

CAF_ADD_TYPE_ID(troupe, (troupe::ec))
CAF_ADD_TYPE_ID(troupe, (troupe::batch_ref))
CAF_ADD_TYPE_ID(troupe, (troupe::completion))
CAF_ADD_TYPE_ID(troupe, (troupe::receipt))
CAF_ADD_TYPE_ID(troupe, (troupe::pool_stats))
CAF_ADD_TYPE_ID(troupe, (troupe::failure_box))
CAF_ADD_TYPE_ID(troupe, (troupe::stuck_request))

CAF_ADD_ATOM(troupe, troupe, submit_atom, "submit")
CAF_ADD_ATOM(troupe, troupe, stats_atom, "stats")
CAF_ADD_ATOM(troupe, troupe, resize_atom, "resize")
CAF_ADD_ATOM(troupe, troupe, subscribe_atom, "subscribe")
CAF_ADD_ATOM(troupe, troupe, drain_atom, "drain")
CAF_ADD_ATOM(troupe, troupe, set_atom, "set")
CAF_ADD_ATOM(troupe, troupe, clear_atom, "clear")
CAF_ADD_ATOM(troupe, troupe, is_set_atom, "is_set")
CAF_ADD_ATOM(troupe, troupe, wait_atom, "wait")
CAF_ADD_ATOM(troupe, troupe, wake_atom, "tr_wake")
CAF_ADD_ATOM(troupe, troupe, retire_atom, "tr_retire")
CAF_ADD_ATOM(troupe, troupe, grow_atom, "tr_grow")
CAF_ADD_ATOM(troupe, troupe, done_atom, "tr_done")
CAF_ADD_ATOM(troupe, troupe, tick_atom, "tr_tick")
CAF_ADD_ATOM(troupe, troupe, expire_atom, "tr_expire")
CAF_ADD_ATOM(troupe, troupe, count_down_atom, "count_down")
CAF_ADD_ATOM(troupe, troupe, count_atom, "count")
CAF_ADD_ATOM(troupe, troupe, abort_atom, "abort")
CAF_ADD_ATOM(troupe, troupe, reset_atom, "reset")
CAF_ADD_ATOM(troupe, troupe, acquire_atom, "acquire")
CAF_ADD_ATOM(troupe, troupe, try_acquire_atom, "try_acq")
CAF_ADD_ATOM(troupe, troupe, release_atom, "release")
CAF_ADD_ATOM(troupe, troupe, guard_atom, "tr_guard")
CAF_ADD_ATOM(troupe, troupe, restart_atom, "tr_restart")
CAF_ADD_ATOM(troupe, troupe, leave_atom, "tr_leave")
CAF_ADD_ATOM(troupe, troupe, node_atom, "tr_node")

CAF_END_TYPE_ID_BLOCK(troupe)

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ec)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::batch_ref)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::completion)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::receipt)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::pool_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::failure_box)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::stuck_request)

CAF_ERROR_CODE_ENUM(troupe::ec)

namespace troupe {

/// Registers the types above with CAF, and lets troupe know which threads must
/// not be blocked. `with_options` calls it; call it in the
/// constructor of a config class that does not use the mix-in.
void register_messages(caf::actor_system_config& cfg);

} // namespace troupe
