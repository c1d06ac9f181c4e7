#include "troupe/node_link.hpp"

#include <algorithm>

#include "troupe/messages.hpp"

namespace troupe {

namespace {

bool is_counted(wire::kind what) {
  return what == wire::kind::calls || what == wire::kind::answers
         || what == wire::kind::piece;
}

} // namespace

node_link::node_link(caf::actor peer, std::uint64_t session,
                     std::uint64_t window)
    : session_{session}, window_{window}, peer_{std::move(peer)} {}

bool node_link::send(const std::string& message, std::uint64_t transfer,
                     const std::stop_token& stop) {
  if (message.size() <= wire::piece_size)
    return send_part(message, stop);
  std::string_view rest{message};
  while (!rest.empty()) {
    auto part = rest.substr(0, wire::piece_size);
    if (!send_part(wire::write(session_, {transfer, message.size(), part}),
                   stop))
      return false;
    rest.remove_prefix(part.size());
  }
  return true;
}

bool node_link::send_part(std::string part, const std::stop_token& stop) {
  std::unique_lock guard{mutex_};
  auto has_room = [&] {
    return !peer_ || sent_ - acked_ + part.size() <= window_;
  };
  if (!changed_.wait(guard, stop, has_room) || !peer_)
    return false;
  sent_ += part.size();
  // Under the lock: what one thread sends, arrives in the order in which it is
  // counted.
  compat::tell(peer_, node_atom_v, std::move(part));
  return true;
}

void node_link::greet(std::string message, const caf::actor& me) {
  std::lock_guard guard{mutex_};
  if (peer_)
    compat::tell(peer_, node_atom_v, std::move(message), me);
}

void node_link::post(std::string message) {
  std::lock_guard guard{mutex_};
  if (!peer_)
    return;
  if (is_counted(wire::read_header(message)->kind))
    sent_ += message.size();
  compat::tell(peer_, node_atom_v, std::move(message));
}

void node_link::acked(std::uint64_t bytes) {
  {
    std::lock_guard guard{mutex_};
    // Who claims more than was sent gains nothing.
    acked_ = std::min(std::max(acked_, bytes), sent_);
  }
  changed_.notify_all();
}

std::uint64_t node_link::under_way() const {
  std::lock_guard guard{mutex_};
  return sent_ - acked_;
}

void node_link::close() {
  caf::actor gone;
  {
    std::lock_guard guard{mutex_};
    std::swap(gone, peer_);
  }
  changed_.notify_all();
}

std::optional<std::string> node_inbox::take(std::string& arrived,
                                            node_link& link) {
  auto head = wire::read_header(arrived);
  if (!head || head->session != link.session())
    return {};
  if (!is_counted(head->kind))
    return std::move(arrived);
  received_ += arrived.size();
  if (received_ - told_ >= window_ / 4) {
    told_ = received_;
    link.post(wire::write_ack(link.session(), received_));
  }
  if (head->kind != wire::kind::piece)
    return std::move(arrived);
  auto piece = wire::read_piece(arrived);
  if (!piece)
    return {};
  auto whole = pieces_.take(*piece);
  // A piece of pieces would be somebody who tries something.
  if (whole && !whole->empty()) {
    auto inner = wire::read_header(*whole);
    if (!inner || inner->session != link.session()
        || (inner->kind != wire::kind::calls
            && inner->kind != wire::kind::answers))
      return {};
  }
  return whole;
}

} // namespace troupe
