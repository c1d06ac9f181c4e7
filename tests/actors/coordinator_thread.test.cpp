// The coordinator's thread belongs to the coordinator: nothing that a user has
// written runs or is destroyed on it, whatever becomes of a pool. Batches that
// come by message are left out: a message ends where it is received.

#include "actor_ways.hpp"
#include "gate.hpp"

#include <catch2/catch.hpp>

#include <filesystem>
#include <fstream>
#include <map>
#include <mutex>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/types.h>
#include <unistd.h>

using namespace std::chrono_literals;

using test::failure_code;
using troupe::ec;
using troupe::pool_options;

namespace {

/// Which threads have done what.
class whereabouts {
public:
  void here(const std::string& what) {
    std::lock_guard guard{mutex_};
    threads_[what].insert(::gettid());
  }

  std::map<std::string, std::set<pid_t>> all() const {
    std::lock_guard guard{mutex_};
    return threads_;
  }

private:
  mutable std::mutex mutex_;
  std::map<std::string, std::set<pid_t>> threads_;
};

/// Is captured by what a user hands over, and tells where that is copied,
/// moved and destroyed.
class witness {
public:
  witness(whereabouts& seen, std::string of)
      : seen_{&seen}, of_{std::move(of)} {}

  witness(const witness& other) : seen_{other.seen_}, of_{other.of_} {
    seen_->here(of_ + " copied");
  }

  witness(witness&& other) noexcept : seen_{other.seen_}, of_{other.of_} {
    seen_->here(of_ + " moved");
  }

  witness& operator=(const witness&) = delete;

  ~witness() { seen_->here(of_ + " destroyed"); }

  void runs() const { seen_->here(of_ + " run"); }

private:
  whereabouts* seen_;
  std::string of_;
};

/// Returns the oldest thread of this name, since one that was just started has
/// that of its creator; 0 if there is none.
pid_t thread_named(const std::string& name) {
  pid_t result = 0;
  for (const auto& entry :
       std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream file{entry.path() / "comm"};
    std::string found;
    auto id = std::stoi(entry.path().filename());
    if (std::getline(file, found) && found == name
        && (result == 0 || id < result))
      result = id;
  }
  return result;
}

enum class ending { drained, cut_short, last_handle, killed };

} // namespace

TEST_CASE("the coordinator's thread has the pool's name, as far as it fits",
          "[coordinator]") {
  test::actor_world world;
  troupe::pool brief{world.sys, pool_options{.name = "db", .workers = 1}};
  troupe::pool wordy{world.sys,
                     pool_options{.name = "a-very-long-name", .workers = 1}};
  // Its first act is to call itself so; then it starts workers.
  brief.run([] {}).get();
  wordy.run([] {}).get();
  CHECK(thread_named("db-coord") != 0);
  CHECK(thread_named("a-very-lo-coord") != 0);
}

TEST_CASE("nothing of the user's runs or is destroyed on the coordinator's "
          "thread",
          "[coordinator]") {
  auto how = GENERATE(ending::drained, ending::cut_short, ending::last_handle,
                      ending::killed);
  CAPTURE(static_cast<int>(how));
  whereabouts seen;
  pid_t coordinator = 0;
  {
    test::actor_world world;
    test::gate door;
    test::open_at_exit release{door};
    std::optional<troupe::pool> io;
    {
      pool_options options{.name = "spied", .workers = 2};
      options.on_worker_start = [w = witness{seen, "start hook"}](int) {
        w.runs();
      };
      options.on_worker_stop = [w = witness{seen, "stop hook"}](int) {
        w.runs();
      };
      io.emplace(world.sys, options);
    }
    io->run([] {}).get();
    coordinator = thread_named("spied-coord");
    REQUIRE(coordinator != 0);

    auto progress = [&] {
      return [w = witness{seen, "progress function"}](const troupe::progress&) {
        w.runs();
      };
    };
    auto call = [&](test::gate* at) {
      return [&seen, at, w = witness{seen, "request"}](troupe::context& ctx) {
        auto hook = ctx.on_cancel([at, w = witness{seen, "cancel hook"}] {
          w.runs();
          if (at != nullptr)
            at->open();
        });
        w.runs();
        if (at != nullptr)
          at->pass();
      };
    };
    // What has been.
    io->map(std::vector<int>(100, 0),
            [w = witness{seen, "function"}](int) { w.runs(); })
        .on_progress(progress())
        .get();
    // What runs, and what waits behind it.
    std::vector<troupe::operation<void>> ops;
    for (auto i = 0; i < 2; ++i)
      ops.push_back(
          io->run(call(&door)).on_progress(progress()).timeout(1h).start());
    door.wait_for_arrivals(2);
    for (auto i = 0; i < 3; ++i)
      ops.push_back(io->run(call(nullptr)).on_progress(progress()).start());
    ops.push_back(io->map(std::vector<int>(100, 0),
                          [w = witness{seen, "function"}](int) { w.runs(); })
                      .key("db", 1)
                      .start());
    { auto dropped = io->run(call(nullptr)).start(); }

    switch (how) {
    case ending::drained:
      door.open();
      io->shutdown().get();
      break;
    case ending::cut_short: {
      // Hooks let go what runs.
      io->shutdown(0s).get();
      break;
    }
    case ending::last_handle:
      door.open();
      break;
    case ending::killed: {
      auto gone = std::make_shared<test::tally>();
      test::watch_end(io->actor(), gone);
      caf::anon_send_exit(io->actor(), caf::exit_reason::kill);
      gone->wait_for(1);
      break;
    }
    }
    // What comes too late.
    if (how != ending::last_handle)
      CHECK(failure_code([&] { io->run(call(nullptr)).get(); })
            == ec::pool_stopped);
    io.reset();
    for (auto& op : ops) {
      auto code = failure_code([&] { op.get(); });
      CHECK((!code || *code == ec::pool_stopped || *code == ec::cancelled));
    }
  }
  auto all = seen.all();
  for (auto what : {"start hook run", "stop hook run", "start hook destroyed",
                    "stop hook destroyed", "request run", "request destroyed",
                    "progress function run", "progress function destroyed",
                    "function run", "function destroyed"})
    CHECK(all.count(what) == 1);
  if (how == ending::cut_short || how == ending::killed)
    CHECK(all.count("cancel hook run") == 1);
  for (const auto& [what, threads] : all) {
    CAPTURE(what);
    CHECK(threads.count(coordinator) == 0);
  }
}
