// The messages that troupe's actors understand. Whoever talks to a coordinator
// or an event without the functions of pool.hpp and event.hpp needs this header
// and no other.
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
//       outside 1 to 65536.
//   (subscribe_atom, caf::actor)
//       Nothing, at once. From then on the actor gets a completion for each
//       batch, until it ends. Error: `invalid_option` for an invalid handle.
//   (drain_atom, caf::timespan)
//       A receipt, when the pool has shut down; see `pool::shutdown`. Error:
//       `pool_stopped` if something else ends the pool first.
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

CAF_END_TYPE_ID_BLOCK(troupe)

CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::ec)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::batch_ref)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::completion)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::receipt)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::pool_stats)
CAF_ALLOW_UNSAFE_MESSAGE_TYPE(troupe::failure_box)

CAF_ERROR_CODE_ENUM(troupe::ec)

namespace troupe {

/// Registers the types above with CAF. `with_options` calls it; call it in the
/// constructor of a config class that does not use the mix-in.
void register_messages(caf::actor_system_config& cfg);

} // namespace troupe
