#include "troupe/mailbox_face.hpp"

#include "troupe/messages.hpp"

namespace troupe {

// -- mailbox_face -------------------------------------------------------------

mailbox_face::~mailbox_face() {
  if (actor_)
    caf::anon_send_exit(actor_, caf::exit_reason::user_shutdown);
}

caf::actor mailbox_face::actor(
    const std::function<caf::actor(caf::actor_system&)>& spawn) {
  std::lock_guard guard{mutex_};
  if (!actor_)
    actor_ = spawn(system_);
  return actor_;
}

// -- face_actor ---------------------------------------------------------------

caf::behavior face_actor::make_behavior() {
  return handlers().or_else([this](retire_atom, const caf::actor_addr& gone) {
    forget_sender(gone);
  });
}

void face_actor::on_exit() {
  auto why = to_error(make_failure(ec::owner_gone, orphaned_));
  for (auto& [key, who] : askers_)
    who.promise.deliver(why);
  askers_.clear();
}

caf::actor_addr face_actor::sender_address() {
  const auto& who = current_sender();
  return who ? caf::actor_cast<caf::actor_addr>(who) : caf::actor_addr{};
}

caf::actor_addr face_actor::know_sender() {
  auto address = sender_address();
  if (address && senders_.try_emplace(address).second) {
    auto me = this->address();
    current_sender()->get()->attach_functor([me, address](const caf::error&) {
      if (auto to = caf::actor_cast<caf::actor>(me))
        compat::tell(to, retire_atom_v, address);
    });
  }
  return address;
}

face_actor::asker& face_actor::add_asker(std::uint64_t key) {
  auto address = know_sender();
  if (address)
    senders_[address].insert(key);
  asker added{make_response_promise(), std::move(address), {}};
  return askers_.emplace(key, std::move(added)).first->second;
}

std::optional<face_actor::asker> face_actor::take_asker(std::uint64_t key) {
  auto found = askers_.extract(key);
  if (!found)
    return std::nullopt;
  if (auto known = senders_.find(found.mapped().address);
      known != senders_.end())
    known->second.erase(key);
  return std::move(found.mapped());
}

void face_actor::forget_sender(const caf::actor_addr& gone) {
  auto found = senders_.extract(gone);
  if (!found)
    return;
  for (auto key : found.mapped())
    if (auto who = take_asker(key))
      who->stop.request_stop();
  lose_sender(gone);
}

} // namespace troupe
