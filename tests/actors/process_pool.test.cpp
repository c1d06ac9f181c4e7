// What worker processes promise: calls run over there as they do here, a crash
// costs the request that was running and no other, what must stop is stopped,
// and nothing is left behind. With real processes, of support/worker_program.

#include "actor_ways.hpp"
#include "end_of_process.hpp"
#include "far_outcomes.hpp"
#include "gate.hpp"
#include "gate_folder.hpp"
#include "manual_clock.hpp"
#include "programs.hpp"
#include "run_child.hpp"
#include "test_procedures.hpp"

#include "troupe/escape.hpp"
#include "troupe/process_pool.hpp"
#include "troupe/worker_process.hpp"

#include <catch2/catch.hpp>

#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>

using namespace std::chrono_literals;

using test::end_of_process;
using test::eventually;
using test::failure_of;
using test::hear;
using test::letters_in;
using test::way;
using troupe::ec;
using troupe::process_options;
using troupe::process_pool;

namespace {

/// A pool of test processes.
struct crew {
  explicit crew(process_options options = {})
      : pool{world.sys, test::all_procedures(),
             with_program(std::move(options))} {}

  static process_options with_program(process_options options) {
    if (options.program.empty())
      options.program = TROUPE_WORKER_PROGRAM;
    return options;
  }

  test::actor_world world;
  process_pool pool;
};

bool is_child(int pid) {
  return ::waitid(P_PID, static_cast<id_t>(pid), nullptr,
                  WEXITED | WNOHANG | WNOWAIT)
         == 0;
}

} // namespace

// -- calls --------------------------------------------------------------------

TEST_CASE("a call runs in another process, whichever way one waits",
          "[process_pool]") {
  auto how = GENERATE(way::get, way::then, way::co_await_);
  CAPTURE(how);
  crew c{{.processes = 1}};
  auto pid = hear(how, c.world.sys,
                  [&](auto*) { return c.pool.call(test::process_id); });
  REQUIRE(pid.value);
  CHECK(*pid.value != ::getpid());
  auto sum = hear(how, c.world.sys,
                  [&](auto*) { return c.pool.call(test::add, 2, 3); });
  CHECK(sum.value == 5);
}

TEST_CASE("types of one's own travel", "[process_pool]") {
  crew c{{.processes = 1}};
  auto moved = c.pool.call(test::move, test::point{1, {"a", "b"}}, 41).get();
  CHECK(moved.x == 42);
  CHECK(moved.names == std::vector<std::string>{"a", "b"});
}

TEST_CASE("map keeps the order over processes", "[process_pool]") {
  crew c{{.processes = 3}};
  std::vector<std::string> words;
  for (int i = 0; i < 500; ++i)
    words.push_back(std::to_string(i));
  CHECK(c.pool.map(words, test::echo).get() == words);
  CHECK(c.pool.stats().succeeded == 500);
}

TEST_CASE("other functions run in this process", "[process_pool]") {
  crew c{{.processes = 1}};
  CHECK(c.pool.run([] { return ::getpid(); }).get() == ::getpid());
}

TEST_CASE("a gather mixes threads and processes", "[process_pool]") {
  crew c{{.processes = 2}};
  troupe::pool threads{c.world.sys, troupe::pool_options{
                                        .procedures = test::all_procedures(),
                                    }};
  auto [here, there, sum] = troupe::gather(threads.call(test::process_id),
                                           c.pool.call(test::process_id),
                                           c.pool.call(test::add, 1, 1))
                                .get();
  CHECK(here == ::getpid());
  CHECK(there != ::getpid());
  CHECK(sum == 2);
  std::vector<troupe::operation<std::string>> many;
  for (int i = 0; i < 40; ++i)
    many.push_back(i % 2 == 0 ? threads.call(test::echo, std::to_string(i))
                              : c.pool.call(test::echo, std::to_string(i)));
  auto all = troupe::gather(std::move(many)).get();
  REQUIRE(all.size() == 40);
  for (int i = 0; i < 40; ++i)
    CHECK(all[static_cast<std::size_t>(i)] == std::to_string(i));
}

TEST_CASE("a gather of threads and processes fails with the one that fails",
          "[process_pool]") {
  crew c{{.processes = 1}};
  troupe::pool threads{c.world.sys, troupe::pool_options{
                                        .procedures = test::all_procedures(),
                                    }};
  auto lost = failure_of(troupe::gather(threads.call(test::add, 1, 1),
                                        c.pool.call(test::end_by, SIGABRT)));
  CHECK(lost.code == ec::worker_lost);
}

TEST_CASE("64 MiB go there and come back", "[process_pool]") {
  crew c{{.processes = 1}};
  std::string large(64 * 1024 * 1024, 'x');
  large.back() = 'y';
  CHECK(c.pool.call(test::echo, large).get() == large);
}

// -- failures of a function ---------------------------------------------------

TEST_CASE("an exception arrives with the name of its type and its message",
          "[process_pool]") {
  crew c{{.processes = 1}};
  auto pid = c.pool.call(test::process_id).get();
  try {
    c.pool.call(test::fail, "disk: on fire").get();
    FAIL("it did not throw");
  } catch (const troupe::remote_failure& why) {
    CHECK(why.code() == ec::request_failed);
    CHECK(why.started());
    CHECK(why.type_name() == "std::out_of_range");
    CHECK(why.message() == "disk: on fire");
    CHECK(why.pid() == pid);
    CHECK_THAT(why.what(), Catch::Contains("std::out_of_range: disk: on fire"));
  }
  CHECK(c.pool.call(test::process_id).get() == pid);
}

TEST_CASE("then hears of an exception of another process", "[process_pool]") {
  crew c{{.processes = 1}};
  auto result = hear(way::then, c.world.sys,
                     [&](auto*) { return c.pool.call(test::fail, "no"); });
  CHECK(result.code() == ec::request_failed);
  CHECK_THAT(troupe::describe(result.error), Catch::Contains("out_of_range"));
}

// -- crashes ------------------------------------------------------------------

TEST_CASE("a crash costs one request, and its signal is named",
          "[process_pool]") {
  struct ending {
    int signal;
    const char* text;
  };
  auto by = GENERATE(ending{SIGSEGV, "SIGSEGV"}, ending{SIGABRT, "SIGABRT"},
                     ending{SIGKILL, "SIGKILL, not from this pool"},
                     ending{0, "exit status 3"});
  CAPTURE(by.text);
  crew c{{.processes = 1}};
  auto before = c.pool.call(test::process_id).get();
  auto lost = failure_of(c.pool.call(test::end_by, by.signal));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("'end_by'") && Catch::Contains(by.text)
                            && Catch::Contains(std::to_string(before)));
  CHECK(c.pool.call(test::process_id).get() != before);
  CHECK_FALSE(is_child(before));
  CHECK(c.pool.processes().lost == 1);
}

TEST_CASE("in a gather, one of many crashes and the others have results",
          "[process_pool]") {
  crew c{{.processes = 2}};
  std::vector<troupe::operation<int>> ops;
  for (int i = 0; i < 50; ++i)
    ops.push_back(c.pool.call(test::end_by, i == 25 ? SIGSEGV : -i - 1));
  auto outcomes = troupe::gather_settled(std::move(ops)).get();
  for (int i = 0; i < 50; ++i) {
    CAPTURE(i);
    const auto& x = outcomes[static_cast<std::size_t>(i)];
    if (i == 25)
      CHECK(x.code() == ec::worker_lost);
    else
      CHECK(x.value() == -i - 1);
  }
}

TEST_CASE("a process that is killed while idle is replaced, and no request "
          "hears of it",
          "[process_pool]") {
  crew c{{.processes = 1}};
  auto before = c.pool.call(test::process_id).get();
  ::kill(before, SIGKILL);
  eventually([&] { return c.pool.processes().started == 2; });
  CHECK(c.pool.call(test::process_id).get() != before);
  CHECK_FALSE(is_child(before));
}

TEST_CASE("where something else takes how processes end, failures say so",
          "[process_pool]") {
  struct ignored_ends {
    ignored_ends() { std::signal(SIGCHLD, SIG_IGN); }
    ~ignored_ends() { std::signal(SIGCHLD, SIG_DFL); }
  };
  ignored_ends ignored;
  crew c{{.processes = 1}};
  auto lost = failure_of(c.pool.call(test::end_by, SIGABRT));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("how it ended was taken by something "
                                        "else in this program")
                            && Catch::Contains("SIGCHLD"));
  CHECK(c.pool.call(test::add, 1, 1).get() == 2);
}

TEST_CASE("a call is not run a second time by itself", "[process_pool]") {
  crew c{{.processes = 1}};
  test::gate_folder folder;
  auto lost =
      failure_of(c.pool.call(test::end_counted, folder.file("letters")));
  CHECK(lost.code == ec::worker_lost);
  CHECK(letters_in(folder.file("letters")) == 1);
}

TEST_CASE("an idempotent procedure is run again when its process is lost",
          "[process_pool]") {
  crew c{{.processes = 1}};
  test::gate_folder folder;
  CHECK(c.pool.call(test::end_once, folder.file("letters")).get() == 1);
  CHECK(letters_in(folder.file("letters")) == 1);
}

TEST_CASE("an idempotent procedure is run twice at most", "[process_pool]") {
  crew c{{.processes = 1}};
  test::gate_folder folder;
  auto lost = failure_of(c.pool.call(test::end_always, folder.file("letters")));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("run twice"));
  CHECK(letters_in(folder.file("letters")) == 2);
}

TEST_CASE("an idempotent procedure that finds no process for its second run "
          "has run",
          "[process_pool]") {
  test::gate_folder folder;
  auto program = folder.file("program");
  std::filesystem::copy_file(TROUPE_WORKER_PROGRAM, program);
  crew c{{.processes = 1, .program = program}};
  CHECK(c.pool.call(test::add, 1, 1).get() == 2);
  std::filesystem::remove(program);
  try {
    c.pool.call(test::end_once, folder.file("letters")).get();
    FAIL("it had a second process");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::resource_unavailable);
    CHECK(why.started());
    CHECK_THAT(why.what(), Catch::Contains("it had run once"));
  }
  CHECK(letters_in(folder.file("letters")) == 1);
}

TEST_CASE("a request that has ended its share of processes is not run again, "
          "and is named",
          "[process_pool]") {
  crew c{{.processes = 1, .max_lost = 3}};
  test::gate_folder folder;
  auto asked = 0;
  auto op = c.pool.call(test::end_counted, folder.file("letters"))
                .retry({.attempts = 6,
                        .backoff = 1ms,
                        .when =
                            [&](const auto&) {
                              ++asked;
                              return true;
                            }})
                .label("poison");
  auto lost = failure_of(std::move(op));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text,
             Catch::Contains("'end_counted' was lost with worker process")
                 && Catch::Contains("it is not run again: it has ended 3 "
                                    "worker processes (SIGABRT, SIGABRT, "
                                    "SIGABRT)")
                 && Catch::Contains("poison")
                 && Catch::EndsWith("after 3 attempts"));
  // It has not waited for another attempt in vain.
  CHECK(asked == 2);
  CHECK(letters_in(folder.file("letters")) == 3);
}

// -- stopping -----------------------------------------------------------------

TEST_CASE("a call that runs too long is ended with its process",
          "[process_pool]") {
  auto clock = std::make_shared<test::manual_clock>();
  crew c{
      {.processes = 1, .max_run_time = 5s, .kill_grace = 1min, .clock = clock}};
  test::gate_folder folder;
  auto op = c.pool.call(test::hold, folder.path()).start();
  auto pid = folder.await_arrival();
  clock->advance(5s);
  auto late = failure_of(std::move(op));
  CHECK(late.code == ec::deadline_exceeded);
  CHECK_THAT(late.text, Catch::Contains("max_run_time = 5s")
                            && Catch::Contains("SIGTERM"));
  CHECK_FALSE(is_child(pid));
  CHECK(c.pool.call(test::add, 1, 1).get() == 2);
  CHECK(c.pool.processes().ended == 1);
}

TEST_CASE("how long a call may run can be configured", "[process_pool]") {
  auto clock = std::make_shared<test::manual_clock>();
  test::actor_world world;
  world.cfg.set("troupe.max-run-time", caf::timespan{3s});
  process_pool pool{world.sys,
                    test::all_procedures(),
                    {.name = "slow",
                     .processes = 1,
                     .program = TROUPE_WORKER_PROGRAM,
                     .clock = clock}};
  test::gate_folder folder;
  auto op = pool.call(test::hold, folder.path()).start();
  folder.await_arrival();
  clock->advance(3s);
  auto late = failure_of(std::move(op));
  CHECK(late.code == ec::deadline_exceeded);
  CHECK_THAT(late.text, Catch::Contains("max_run_time = 3s"));
}

TEST_CASE("a call that returns in time is not ended", "[process_pool]") {
  auto clock = std::make_shared<test::manual_clock>();
  crew c{{.processes = 1, .max_run_time = 5s, .clock = clock}};
  test::gate_folder folder;
  auto op = c.pool.call(test::hold, folder.path()).start();
  auto pid = folder.await_arrival();
  clock->advance(4s);
  folder.open();
  CHECK(op.get() == pid);
  clock->advance(10s);
  CHECK(c.pool.call(test::process_id).get() == pid);
}

TEST_CASE("a process that is deaf to SIGTERM is killed", "[process_pool]") {
  auto clock = std::make_shared<test::manual_clock>();
  crew c{
      {.processes = 1, .max_run_time = 5s, .kill_grace = 1ms, .clock = clock}};
  test::gate_folder folder;
  auto op = c.pool.call(test::hold_deaf, folder.path()).start();
  auto pid = folder.await_arrival();
  clock->advance(5s);
  auto late = failure_of(std::move(op));
  CHECK(late.code == ec::deadline_exceeded);
  CHECK_THAT(late.text, Catch::Contains("(SIGKILL)"));
  CHECK_FALSE(is_child(pid));
}

TEST_CASE("when its deadline passes, a running call really ends",
          "[process_pool]") {
  auto clock = std::make_shared<test::manual_clock>();
  crew c{{.processes = 1, .clock = clock}};
  test::gate_folder folder;
  auto op = c.pool.call(test::hold, folder.path()).timeout(5s).start();
  end_of_process over{folder.await_arrival()};
  REQUIRE(over.known());
  clock->advance(5s);
  CHECK(failure_of(std::move(op)).code == ec::deadline_exceeded);
  over.wait();
}

TEST_CASE("a call that is cancelled ends with its process", "[process_pool]") {
  crew c{{.processes = 1}};
  test::gate_folder folder;
  std::stop_source source;
  auto op = c.pool.call(test::hold, folder.path())
                .stop_with(source.get_token())
                .start();
  end_of_process over{folder.await_arrival()};
  source.request_stop();
  CHECK(failure_of(std::move(op)).code == ec::cancelled);
  over.wait();
  CHECK(c.pool.call(test::add, 1, 1).get() == 2);
}

TEST_CASE("a stopped process is ended, too", "[process_pool]") {
  auto clock = std::make_shared<test::manual_clock>();
  crew c{
      {.processes = 1, .max_run_time = 5s, .kill_grace = 1ms, .clock = clock}};
  test::gate_folder folder;
  auto op = c.pool.call(test::hold, folder.path()).start();
  ::kill(folder.await_arrival(), SIGSTOP);
  clock->advance(5s);
  CHECK(failure_of(std::move(op)).code == ec::deadline_exceeded);
}

TEST_CASE("after so many calls a process is replaced", "[process_pool]") {
  crew c{{.processes = 1, .max_requests_per_worker = 3}};
  std::vector<int> pids;
  for (int i = 0; i < 9; ++i)
    pids.push_back(c.pool.call(test::process_id).get());
  CHECK(std::set<int>(pids.begin(), pids.end()).size() == 3);
  CHECK(std::is_sorted(pids.begin(), pids.end(), [&](int a, int b) {
    return std::find(pids.begin(), pids.end(), a)
           < std::find(pids.begin(), pids.end(), b);
  }));
  CHECK(c.pool.processes().recycled == 3);
}

// -- bad input ----------------------------------------------------------------

TEST_CASE("arguments that are too large are not sent", "[process_pool]") {
  crew c{{.processes = 1, .max_message = 1000}};
  auto pid = c.pool.call(test::process_id).get();
  auto large = failure_of(c.pool.call(test::echo, std::string(2000, 'x')));
  CHECK(large.code == ec::too_large);
  CHECK_THAT(large.text, Catch::Contains("arguments of procedure 'echo'")
                             && Catch::Contains("max_message = 1000 bytes"));
  CHECK(c.pool.call(test::process_id).get() == pid);
}

TEST_CASE("sizes of which one is hardly too large can be told apart",
          "[process_pool]") {
  crew c{{.processes = 1, .max_message = 100'000}};
  for (const auto& large :
       {failure_of(c.pool.call(test::echo, std::string(100'000, 'x'))),
        failure_of(c.pool.call(test::letters, 100'000))}) {
    CHECK(large.code == ec::too_large);
    CHECK_THAT(large.text,
               Catch::Matches(".* (is|are) 100,00[1-9] bytes, more than "
                              "max_message = 100,000 bytes.*"));
  }
}

TEST_CASE("a result that is too large is not sent", "[process_pool]") {
  crew c{{.processes = 1, .max_message = 1000}};
  auto pid = c.pool.call(test::process_id).get();
  auto large = failure_of(c.pool.call(test::letters, 2000));
  CHECK(large.code == ec::too_large);
  CHECK_THAT(large.text, Catch::Contains("result of procedure 'letters'")
                             && Catch::Contains("max_message = 1000 bytes"));
  CHECK(c.pool.call(test::process_id).get() == pid);
}

TEST_CASE("a procedure that the process does not know names both sides",
          "[process_pool]") {
  crew c{{.name = "far", .processes = 1}};
  auto unknown = failure_of(c.pool.call(test::nowhere));
  CHECK(unknown.code == ec::unknown_procedure);
  CHECK_THAT(
      unknown.text,
      Catch::Contains("the caller, process " + std::to_string(::getpid()))
          && Catch::Contains("'nowhere', int()")
          && Catch::Contains("troupe_worker_program")
          && Catch::Contains("'far'") && Catch::Contains("has only"));
}

TEST_CASE("a signature that differs over there shows both", "[process_pool]") {
  crew c{{.processes = 1, .arguments = {"--other"}}};
  auto unknown = failure_of(c.pool.call(test::echo, "x"));
  CHECK(unknown.code == ec::unknown_procedure);
  CHECK_THAT(unknown.text, Catch::Contains("std::string(std::string)")
                               && Catch::Contains("int(int)"));
}

TEST_CASE("arguments that do not decode over there are refused over there",
          "[process_pool]") {
  crew c{{.processes = 1, .arguments = {"--other"}}};
  auto bad = failure_of(c.pool.call(test::move, test::point{1, {"a"}}, 2));
  CHECK(bad.code == ec::bad_message);
  CHECK_THAT(bad.text,
             Catch::Contains("cannot decode the arguments of procedure 'move'")
                 && Catch::Contains("test::point, int")
                 && Catch::Contains("troupe_worker_program"));
}

TEST_CASE("a missing program is one error, before anything is started",
          "[process_pool]") {
  test::actor_world world;
  try {
    process_pool pool{
        world.sys, test::all_procedures(), {.program = "/no/such/program"}};
    FAIL("it was made");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::invalid_option);
    CHECK_THAT(why.what(), Catch::Contains("/no/such/program")
                               && Catch::Contains("No such file"));
  }
}

TEST_CASE("a program without permission is one error, before anything is "
          "started",
          "[process_pool]") {
  test::actor_world world;
  test::gate_folder folder;
  auto program = folder.file("program");
  std::ofstream{program} << "#!/bin/sh\n";
  std::filesystem::permissions(program, std::filesystem::perms::owner_read);
  try {
    process_pool pool{world.sys, test::all_procedures(), {.program = program}};
    FAIL("it was made");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::invalid_option);
    CHECK_THAT(why.what(), Catch::Contains("Permission denied"));
  }
}

TEST_CASE("a program that goes away later fails the calls that need it",
          "[process_pool]") {
  test::gate_folder folder;
  auto program = folder.file("program");
  std::filesystem::copy_file(TROUPE_WORKER_PROGRAM, program);
  crew c{{.processes = 1, .program = program}};
  CHECK(c.pool.call(test::add, 1, 1).get() == 2);
  std::filesystem::remove(program);
  CHECK(failure_of(c.pool.call(test::end_by, SIGKILL)).code == ec::worker_lost);
  auto gone = failure_of(c.pool.call(test::add, 1, 1));
  CHECK(gone.code == ec::resource_unavailable);
  CHECK_THAT(gone.text,
             Catch::Contains(program) && Catch::Contains("No such file"));
}

TEST_CASE("a program whose main does not make it a worker is refused",
          "[process_pool]") {
  test::actor_world world;
  try {
    process_pool pool{world.sys, test::all_procedures()};
    FAIL("it was made");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::invalid_option);
    CHECK_THAT(why.what(), Catch::Contains("troupe::run_if_worker"));
  }
}

TEST_CASE("options out of range are refused", "[process_pool]") {
  test::actor_world world;
  auto refused = [&](process_options options, const char* key) {
    try {
      process_pool pool{world.sys, test::all_procedures(),
                        crew::with_program(std::move(options))};
      return false;
    } catch (const troupe::failure& why) {
      return why.code() == ec::invalid_option
             && std::string{why.what()}.find(key) != std::string::npos;
    }
  };
  CHECK(refused({.processes = 0}, "process_options.processes = 0"));
  CHECK(refused({.max_run_time = -1s}, "process_options.max_run_time = -1s"));
  CHECK(refused({.max_queued = 0}, "process_options.max_queued = 0"));
  CHECK(refused({.spin = -1ns}, "process_options.spin = -1ns"));
  CHECK(
      refused({.drain_timeout = -1ms}, "process_options.drain_timeout = -1ms"));
  CHECK(refused({.kill_grace = -1s}, "process_options.kill_grace = -1s"));
  CHECK(refused({.start_timeout = 0s}, "process_options.start_timeout = 0s"));
  CHECK(
      refused({.start_timeout = 999us}, "(accepted: a duration from 1ms to "));
  CHECK(refused({.max_message = 0}, "max_message"));
  CHECK(refused({.max_message = std::uint64_t{1} << 32}, "max_message"));
  CHECK(refused({.max_lost = 0}, "max_lost"));
}

TEST_CASE("a process that ends before it takes calls fails the call, each time",
          "[process_pool]") {
  crew c{{.processes = 1, .arguments = {"--exit"}}};
  for (int i = 0; i < 2; ++i) {
    auto lost = failure_of(c.pool.call(test::add, 1, 1));
    CHECK(lost.code == ec::worker_lost);
    CHECK_THAT(lost.text, Catch::Contains("ended before it took calls: exit "
                                          "status 7")
                              && Catch::Contains("run_if_worker"));
  }
  // Each call tries three, and one more may be on its way.
  CHECK(c.pool.processes().started <= 7);
}

TEST_CASE("a process that never takes calls is given up", "[process_pool]") {
  crew c{{.processes = 1, .start_timeout = 1ms, .arguments = {"--silent"}}};
  auto lost = failure_of(c.pool.call(test::add, 1, 1));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("did not say within 1ms"));
  auto seen = c.pool.processes();
  CHECK(seen.ended == 1);
  CHECK(seen.lost == 0);
}

TEST_CASE("a call that waits for its process is cancelled at once",
          "[process_pool]") {
  crew c{{.processes = 1, .arguments = {"--silent"}}};
  std::stop_source source;
  auto op = c.pool.call(test::add, 1, 1).stop_with(source.get_token()).start();
  source.request_stop();
  CHECK(failure_of(std::move(op)).code == ec::cancelled);
}

TEST_CASE("a call that is cancelled while its process starts has not started",
          "[process_pool]") {
  crew c{{.processes = 1, .arguments = {"--silent"}}};
  test::gate begun;
  std::stop_source source;
  auto op = c.pool
                .run([&](troupe::context& ctx) {
                  begun.touch();
                  return test::add(ctx, 1, 1);
                })
                .stop_with(source.get_token())
                .start();
  begun.wait_for_arrivals();
  source.request_stop();
  try {
    std::move(op).get();
    FAIL("it was called");
  } catch (const troupe::failure& why) {
    CHECK(why.code() == ec::cancelled);
    CHECK_FALSE(why.started());
    CHECK_THAT(why.what(), Catch::Contains("took no calls yet, and was ended"));
  }
}

TEST_CASE("a process that greets with something else is ended",
          "[process_pool]") {
  crew c{{.processes = 1, .arguments = {"--garbage"}}};
  auto lost = failure_of(c.pool.call(test::add, 1, 1));
  CHECK(lost.code == ec::worker_lost);
  CHECK_THAT(lost.text, Catch::Contains("no greeting"));
  auto seen = c.pool.processes();
  CHECK(seen.ended == 1);
  CHECK(seen.lost == 0);
}

TEST_CASE("a process that speaks before it is asked is ended",
          "[process_pool]") {
  crew c{{.processes = 1}};
  test::gate_folder folder;
  c.pool.call(test::chatter, folder.path()).get();
  folder.open();
  folder.await_arrival();
  try {
    c.pool.call(test::add, 1, 1).get();
    FAIL("it was called");
  } catch (const troupe::failure& bad) {
    CHECK(bad.code() == ec::bad_message);
    CHECK_FALSE(bad.started());
    CHECK_THAT(bad.what(), Catch::Contains("spoke before it was asked"));
  }
  CHECK(c.pool.call(test::add, 1, 1).get() == 2);
}

TEST_CASE("a call whose answer makes no sense may have run", "[process_pool]") {
  crew c{{.processes = 1}};
  auto travels = GENERATE(false, true);
  CAPTURE(travels);
  try {
    if (travels)
      c.pool.map(std::vector{1}, test::babble).get();
    else
      c.pool.call(test::babble, 1).get();
    FAIL("it was understood");
  } catch (const troupe::failure& bad) {
    CHECK(bad.code() == ec::bad_message);
    CHECK(bad.started());
    CHECK_THAT(bad.what(), Catch::Contains("sent what is not an answer"));
  }
  CHECK(c.pool.processes().ended == 1);
}

// A text without its end, which says how long it was, and whose last character
// is whole.
TEST_CASE("an exception arrives, however long its text is", "[process_pool]") {
  crew c{{.processes = 1}};
  auto pid = c.pool.call(test::process_id).get();
  auto travels = GENERATE(false, true);
  CAPTURE(travels);
  std::string text;
  while (text.size() < 17'000'001)
    text += "äöü";
  try {
    if (travels)
      c.pool.map(std::vector{text}, test::fail).get();
    else
      c.pool.call(test::fail, text).get();
    FAIL("it returned");
  } catch (const troupe::remote_failure& why) {
    CHECK(why.started());
    CHECK(why.type_name() == "std::out_of_range");
    CHECK(why.message().size() <= 64 * 1024);
    CHECK(why.message().size() > 64 * 1024 - 4);
    CHECK_THAT(why.message(), Catch::StartsWith("äöü")
                                  && Catch::EndsWith("... (17,000,004 bytes)"));
    CHECK(troupe::valid_utf8(why.message()) == why.message());
  }
  CHECK(c.pool.call(test::process_id).get() == pid);
}

TEST_CASE("a worker process that no pool started says so", "[process_pool]") {
  auto status = std::system((std::string{TROUPE_WORKER_PROGRAM}
                             + " --troupe-worker=x 3<&- 2>/dev/null")
                                .c_str());
  CHECK(WEXITSTATUS(status) == 2);
}

// -- libraries ----------------------------------------------------------------

TEST_CASE("troupe-worker makes the calls of a library", "[process_pool]") {
  crew c{{.processes = 1,
          .program = TROUPE_WORKER,
          .arguments = {"--load", TROUPE_PROCEDURES_MODULE}}};
  CHECK(c.pool.call(test::add, 2, 3).get() == 5);
  CHECK(c.pool.call(test::echo, "x").get() == "x");
  CHECK(failure_of(c.pool.call(test::end_by, SIGABRT)).code == ec::worker_lost);
}

TEST_CASE("troupe-worker says which library it cannot load", "[process_pool]") {
  std::mutex mutex;
  std::string printed;
  ec code{};
  {
    crew c{{.processes = 1,
            .program = TROUPE_WORKER,
            .arguments = {"--load", "/no/such/library.so"},
            .on_output = [&](const troupe::process_line& line) {
              std::lock_guard guard{mutex};
              printed += line.text;
            }}};
    code = failure_of(c.pool.call(test::add, 2, 3)).code;
  }
  CHECK(code == ec::worker_lost);
  CHECK_THAT(printed, Catch::Contains("/no/such/library.so"));
}

TEST_CASE("troupe-worker is started by pools only, and says how",
          "[process_pool]") {
  for (std::string by_hand : {"", " --load libx.so", " x y z"}) {
    CAPTURE(by_hand);
    auto [status, printed] = test::run_child(TROUPE_WORKER + by_hand);
    CHECK(status == 2);
    CHECK(std::count(printed.begin(), printed.end(), '\n') == 1);
    CHECK_THAT(printed, Catch::StartsWith("troupe-worker: ")
                            && Catch::Contains("not by hand")
                            && Catch::Contains("process_options")
                            && Catch::Contains("--load"));
  }
  auto [status, printed] =
      test::run_child(std::string{TROUPE_WORKER} + " --help");
  CHECK(status == 0);
  CHECK_THAT(printed,
             Catch::Contains("--load") && Catch::Contains("troupe_procedures"));
}

// -- output -------------------------------------------------------------------

TEST_CASE("what a process prints arrives line by line", "[process_pool]") {
  std::mutex mutex;
  std::vector<std::string> lines;
  test::gate arrived;
  {
    crew c{{.name = "p",
            .processes = 1,
            .on_output = [&](const troupe::process_line& line) {
              {
                std::lock_guard guard{mutex};
                lines.push_back(std::string{line.worker}
                                + (line.error ? " 2 " : " 1 ")
                                + std::string{line.text});
              }
              arrived.touch();
            }}};
    c.pool.call(test::print, "one\ntwo\nrest").get();
    // The line without an end comes when nothing more can come.
  }
  std::lock_guard guard{mutex};
  std::sort(lines.begin(), lines.end());
  CHECK(lines
        == std::vector<std::string>{"p-1 1 one", "p-1 1 rest", "p-1 1 two",
                                    "p-1 2 err: one", "p-1 2 rest",
                                    "p-1 2 two"});
}

// -- the end ------------------------------------------------------------------

TEST_CASE("with the pool its processes end", "[process_pool]") {
  std::vector<int> pids;
  {
    crew c{{.processes = 3}};
    c.pool.call(test::add, 1, 1).get();
    eventually([&] { return c.pool.processes().processes.size() == 3; });
    for (const auto& x : c.pool.processes().processes)
      pids.push_back(x.pid);
  }
  for (auto pid : pids)
    CHECK_FALSE(is_child(pid));
}

TEST_CASE("after a shutdown no process is left, while the handle lives on",
          "[process_pool]") {
  crew c{{.processes = 2}};
  c.pool.call(test::add, 1, 1).get();
  c.pool.shutdown(1s).get();
  eventually([&] { return c.pool.processes().processes.empty(); });
  CHECK(failure_of(c.pool.call(test::add, 1, 1)).code == ec::pool_stopped);
}

TEST_CASE("a shutdown ends what still runs", "[process_pool]") {
  crew c{{.processes = 1}};
  test::gate_folder folder;
  auto op = c.pool.call(test::hold, folder.path()).start();
  end_of_process over{folder.await_arrival()};
  c.pool.shutdown(0s).get();
  over.wait();
  CHECK(failure_of(std::move(op)).code != ec{});
}

TEST_CASE("fewer workers have fewer processes", "[process_pool]") {
  crew c{{.processes = 3}};
  eventually([&] { return c.pool.processes().processes.size() == 3; });
  c.pool.resize(1);
  // Who holds more workers than asked for lets them go as they come back.
  eventually([&] {
    c.pool.call(test::add, 1, 1).get();
    return c.pool.processes().processes.size() <= 1;
  });
}

TEST_CASE("when its parent is killed, no worker process is left, busy or not",
          "[process_pool]") {
  test::gate_folder folder;
  pid_t parent = -1;
  std::string program = TROUPE_PROCESS_PARENT;
  auto fifo = folder.file("arrived");
  char* argv[] = {program.data(), fifo.data(), nullptr};
  REQUIRE(
      ::posix_spawn(&parent, program.c_str(), nullptr, nullptr, argv, environ)
      == 0);
  std::vector<end_of_process> workers;
  // Each of them opens the FIFO by itself; who reads may get several lines.
  std::ifstream numbers{fifo};
  while (workers.size() < 3) {
    int pid = 0;
    if (numbers >> pid) {
      workers.emplace_back(pid);
    } else {
      numbers.close();
      numbers.clear();
      numbers.open(fifo);
    }
  }
  for (const auto& worker : workers)
    REQUIRE(worker.known());
  ::kill(parent, SIGKILL);
  ::waitpid(parent, nullptr, 0);
  for (const auto& worker : workers)
    worker.wait();
}

// -- chaos --------------------------------------------------------------------

TEST_CASE("200 processes are killed at random, and each request has one "
          "outcome",
          "[process_pool]") {
  crew c{{.processes = 4}};
  std::atomic<bool> over{false};
  std::atomic<int> killed{0};
  std::thread killer{[&] {
    std::minstd_rand random{42};
    while (killed < 200) {
      auto alive = c.pool.processes().processes;
      if (alive.empty())
        continue;
      const auto& victim = alive[random() % alive.size()];
      if (victim.ready && ::kill(victim.pid, SIGKILL) == 0)
        ++killed;
      std::this_thread::sleep_for(std::chrono::microseconds{random() % 3000});
    }
    over = true;
  }};
  std::uint64_t done = 0;
  std::uint64_t lost = 0;
  std::set<std::string> unexpected;
  while (!over) {
    std::vector<troupe::operation<std::string>> ops;
    for (int i = 0; i < 100; ++i)
      ops.push_back(c.pool.call(test::echo, std::to_string(i)));
    auto outcomes = troupe::gather_settled(std::move(ops)).get();
    for (std::size_t i = 0; i < outcomes.size(); ++i) {
      const auto& x = outcomes[i];
      done += static_cast<bool>(x);
      lost += x.code() == ec::worker_lost;
      if (x && x.value() != std::to_string(i))
        unexpected.insert("answered " + x.value());
      else if (!x && x.code() != ec::worker_lost)
        unexpected.emplace(x.what());
    }
    CHECK(outcomes.size() == 100);
  }
  killer.join();
  CHECK(unexpected == std::set<std::string>{});
  CHECK((done + lost) % 100 == 0);
  CHECK(done > 0);
  auto seen = c.pool.stats();
  CHECK(seen.succeeded == done);
  CHECK(seen.failed == lost);
  // The last signal may still be on its way.
  eventually(
      [&] { return failure_of(c.pool.call(test::add, 1, 1)).code == ec{}; });
}
