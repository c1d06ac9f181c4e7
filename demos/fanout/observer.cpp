// Watching a pool; see the header.
#include "observer.hpp"

#include <caf/scoped_actor.hpp>
#include <caf/send.hpp>

#include <stdexcept>

namespace fanout {

caf::behavior observer::make_behavior() {
  return {
      [this](const troupe::completion& seen) {
        auto before = sum_;
        sum_ = seen;
        sum_.requests += before.requests;
        sum_.succeeded += before.succeeded;
        sum_.failed += before.failed;
        sum_.cancelled += before.cancelled;
        sum_.expired += before.expired;
        ++events_;
      },
      [this](troupe::stats_atom)
          -> caf::result<troupe::completion, std::uint64_t> {
        return {sum_, events_};
      },
  };
}

caf::actor observe(caf::actor_system& sys, const caf::actor& coordinator) {
  auto result = caf::actor{sys.spawn<observer>()};
  caf::scoped_actor self{sys};
  troupe::compat::ask(self, coordinator, troupe::compat::forever,
                      troupe::subscribe_atom_v, result)
      .receive([] {},
               [](const caf::error& why) {
                 throw std::runtime_error{"cannot observe the pool: "
                                          + troupe::describe(why)};
               });
  return result;
}

observation dismiss(caf::actor_system& sys, const caf::actor& watching) {
  observation result;
  caf::scoped_actor self{sys};
  troupe::compat::ask(self, watching, troupe::compat::forever,
                      troupe::stats_atom_v)
      .receive(
          [&](const troupe::completion& sum, std::uint64_t events) {
            result = {events, sum};
          },
          [](const caf::error& why) {
            throw std::runtime_error{"the observing actor does not answer: "
                                     + troupe::describe(why)};
          });
  caf::anon_send_exit(watching, caf::exit_reason::user_shutdown);
  return result;
}

} // namespace fanout
