// Calls that are made in other processes, of this machine or of others, with
// what the ledger must know of them: how often each was begun, whatever became
// of the process. And who makes such calls at random.

#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "dice.hpp"
#include "ledger.hpp"

#include "troupe/pool.hpp"
#include "troupe/procedure.hpp"
#include "troupe/unique_fd.hpp"

namespace chaos {

/// The procedures that this program makes calls of, as its own worker or node.
troupe::procedures known_procedures();

/// How often each request of a round was begun, in a file that all processes
/// map: what a process has counted there stays when it is killed.
class tally {
public:
  static constexpr std::size_t size = 64 * 1024;

  /// Makes the file, or opens one that is there.
  explicit tally(const std::string& path);

  tally(const tally&) = delete;
  tally& operator=(const tally&) = delete;

  ~tally();

  std::atomic<int>& begun(std::size_t slot) { return begun_[slot]; }

  /// Blocks until nobody has it alone; alone: until nobody has it at all.
  /// Whoever counts has it, together with others, until his process ends.
  void lock(bool alone);

private:
  static constexpr auto bytes =
      static_cast<off_t>(size * sizeof(std::atomic<int>));

  troupe::unique_fd file_;
  std::atomic<int>* begun_ = nullptr;
};

/// What the drivers of a round share.
class far_arena {
public:
  far_arena(ledger& to, troupe::pool pool, dice& random)
      : book{to}, io{std::move(pool)}, file{new_file(random)} {}

  /// Makes calls, as many times as there are turns.
  void drive(std::uint64_t seed, int turns);

  /// Waits for the last process that has counted, and tells the ledger. No call
  /// is made any more.
  void close();

  ledger& book;
  troupe::pool io;
  const std::string file;
  std::atomic<std::uint64_t> last_slot{0};
  std::mutex mutex{};
  std::map<std::uint64_t, record_ptr> records{};

private:
  static std::string new_file(dice& random);

  tally counts_{file};
};

} // namespace chaos
