// Which peers this program was built with.

#include "team.hpp"

namespace bench {

std::vector<contender> peers() {
  std::vector<contender> all;
  all.push_back({"mutex pool", role::peer, make_mutex_pool});
#ifdef TROUPE_BENCH_HAS_ASIO
  all.push_back({"Asio", role::peer, make_asio});
#endif
#ifdef TROUPE_BENCH_HAS_TBB
  all.push_back({"oneTBB", role::peer, make_tbb});
#endif
#ifdef TROUPE_BENCH_HAS_LIBUV
  all.push_back({"libuv", role::peer, make_libuv});
#endif
  all.push_back({"plain CAF", role::peer, make_plain_caf});
  return all;
}

std::vector<std::string> peers_not_built() {
  std::vector<std::string> missing;
#ifndef TROUPE_BENCH_HAS_ASIO
  missing.emplace_back("Asio (libasio-dev)");
#endif
#ifndef TROUPE_BENCH_HAS_TBB
  missing.emplace_back("oneTBB (libtbb-dev)");
#endif
#ifndef TROUPE_BENCH_HAS_LIBUV
  missing.emplace_back("libuv (libuv1-dev)");
#endif
  return missing;
}

} // namespace bench
