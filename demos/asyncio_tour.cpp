// A tour of what asyncio's users know, in actors: one small function for each
// tool, in the order of the table in asyncio.md. Each says what it shows and
// prints what came of it, the same on every run: "asyncio.gather: both results,
// in input order: slow, quick". Takes about half a second.

#include <atomic>
#include <chrono>
#include <cstddef>
#include <iostream>
#include <memory>
#include <optional>
#include <ranges>
#include <stdexcept>
#include <stop_token>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "troupe/troupe.hpp"

using namespace std::chrono_literals;
using self_ptr = caf::event_based_actor*;

namespace {

void say(std::string_view theirs, std::string_view what) {
  std::cout << theirs << ": " << what << "\n";
}

// -- functions that block, or compute -----------------------------------------

std::string after(std::chrono::milliseconds time, std::string answer) {
  std::this_thread::sleep_for(time);
  return answer;
}

int broken_disk() {
  throw std::runtime_error{"disk on fire"};
}

int count_primes(int limit) {
  auto result = 0;
  for (auto n = 2; n < limit; ++n) {
    auto prime = true;
    for (auto d = 2; d * d <= n && prime; ++d)
      prime = n % d != 0;
    result += prime ? 1 : 0;
  }
  return result;
}

// Knows how many are inside at once.
class crowd {
public:
  void enter() {
    auto now = ++inside_;
    for (auto most = most_.load(); most < now;)
      if (most_.compare_exchange_weak(most, now))
        break;
  }

  void leave() { --inside_; }

  int most() const { return most_; }

private:
  std::atomic<int> inside_ = 0;
  std::atomic<int> most_ = 0;
};

// -- running a program and its tasks ------------------------------------------

troupe::task<void> to_thread(self_ptr, troupe::pool io) {
  auto text = co_await io.run(after, 1ms, "hello");
  say("asyncio.to_thread", "a blocking call, awaited: " + text);
}

troupe::task<int> twice(self_ptr self, int x) {
  co_await troupe::sleep_for(self, 1ms);
  co_return 2 * x;
}

troupe::task<void> create_task(self_ptr self, troupe::pool) {
  auto running = twice(self, 21).start();
  say("asyncio.create_task", "it runs while this is printed");
  auto x = co_await std::move(running);
  say("asyncio.create_task", "awaited later: " + std::to_string(x));
}

troupe::task<int> in_group(self_ptr self, troupe::task_group& group) {
  auto a = group.start(twice(self, 1));
  auto b = group.start(twice(self, 2));
  co_return co_await std::move(a) + co_await std::move(b);
}

troupe::task<void> task_group(self_ptr self, troupe::pool) {
  auto sum = co_await troupe::with_group(self, in_group);
  say("asyncio.TaskGroup", "all have ended: " + std::to_string(sum));
}

// Fails as well, when it is told to stop.
int careless(troupe::context& context, troupe::event began) {
  began.set();
  while (!context.stop_token().stop_requested())
    std::this_thread::sleep_for(1ms);
  throw std::runtime_error{"cannot clean up"};
}

troupe::task<void> exception_group(self_ptr self, troupe::pool io) {
  troupe::event began{self->system()};
  troupe::task_group group;
  auto first = group.run(io, careless, began);
  co_await began.wait();
  auto second = group.run(io, broken_disk);
  try {
    co_await group.join();
  } catch (const troupe::group_failure& all) {
    std::string text;
    for (const auto& why : all.failures())
      text += "; " + troupe::describe(why->exception);
    say("ExceptionGroup", "none is lost" + text);
  }
}

troupe::task<void> patient(self_ptr self, troupe::event began) {
  began.set();
  try {
    co_await troupe::sleep_for(self, 1h);
  } catch (const troupe::failure& why) {
    say("Task.cancel",
        "the task cleans up: " + std::string{troupe::to_string(why.code())});
    throw;
  }
}

troupe::task<void> cancel(self_ptr self, troupe::pool) {
  std::stop_source stop;
  troupe::event began{self->system()};
  troupe::operation<void> task = patient(self, began);
  auto running = std::move(task).stop_with(stop.get_token()).start();
  co_await began.wait();
  stop.request_stop();
  auto [end] = co_await troupe::gather_settled(std::move(running));
  say("Task.cancel", end ? "it was not cancelled" : "and has ended");
}

troupe::task<void> context_variables(self_ptr, troupe::pool io) {
  auto request = io.run([io](troupe::context&) {
    return io
        .run([](troupe::context& inner) {
          return std::string{inner.tag("user")};
        })
        .get();
  });
  auto user = co_await std::move(request).tag("user", "ada");
  say("contextvars", "a nested call knows its user: " + user);
}

// -- waiting for several ------------------------------------------------------

troupe::task<void> gather(self_ptr, troupe::pool io) {
  auto [a, b] = co_await troupe::gather(io.run(after, 20ms, "slow"),
                                        io.run(after, 1ms, "quick"));
  say("asyncio.gather", "both results, in input order: " + a + ", " + b);
}

troupe::task<void> gather_failure(self_ptr self, troupe::pool io) {
  try {
    co_await troupe::gather(troupe::sleep_for(self, 1h), io.run(broken_disk));
  } catch (const std::runtime_error& error) {
    say("asyncio.gather",
        std::string{"the first failure ends the others: "} + error.what());
  }
}

troupe::task<void> return_exceptions(self_ptr, troupe::pool io) {
  auto [good, bad] = co_await troupe::gather_settled(
      io.run(after, 1ms, "fine"), io.run(broken_disk).label("disk 7"));
  say("gather(return_exceptions=True)",
      good.value() + ", and " + std::string{bad.label()} + ": "
          + std::string{troupe::to_string(bad.code())});
}

troupe::task<void> first_completed(self_ptr self, troupe::pool) {
  auto first = co_await troupe::first_completed(troupe::sleep_for(self, 1h),
                                                troupe::sleep_for(self, 1ms));
  say("asyncio.wait(FIRST_COMPLETED)", "the first in is number "
                                           + std::to_string(first.index())
                                           + ", the other is cancelled");
}

troupe::task<void> first_succeeded(self_ptr self, troupe::pool io) {
  auto first =
      co_await troupe::first_succeeded(io.run(broken_disk), twice(self, 4));
  say("Promise.any",
      "a failure is passed over: " + std::to_string(std::get<1>(first)));
}

troupe::task<int> wakes_after(self_ptr self, std::chrono::milliseconds time) {
  co_await troupe::sleep_for(self, time);
  co_return static_cast<int>(time.count());
}

troupe::task<void> as_completed(self_ptr self, troupe::pool) {
  std::string order;
  auto stream =
      troupe::as_completed(wakes_after(self, 45ms), wakes_after(self, 30ms),
                           wakes_after(self, 15ms));
  while (auto next = co_await stream.next())
    order += " " + std::to_string(next->value()) + " (number "
             + std::to_string(next->index()) + ")";
  say("asyncio.as_completed", "in order of completion:" + order);
}

troupe::task<void> wait_for(self_ptr self, troupe::pool) {
  troupe::event never{self->system()};
  try {
    co_await never.wait().timeout(5ms);
  } catch (const troupe::failure& why) {
    say("asyncio.wait_for", troupe::to_string(why.code()));
  }
}

troupe::task<void> wait_with_timeout(self_ptr self, troupe::pool io) {
  troupe::event done{self->system()};
  troupe::event never{self->system()};
  auto quick = io.run(after, 1ms, "in time").notify(done).start();
  co_await done.wait();
  auto both = troupe::gather_settled(std::move(quick), never.wait());
  auto [good, late] = co_await std::move(both).timeout(5ms);
  say("asyncio.wait(timeout=)",
      good.value() + ", and " + std::string{troupe::to_string(late.code())});
}

troupe::task<void> shield(self_ptr self, troupe::pool io) {
  troupe::event go{self->system()};
  troupe::event saved{self->system()};
  auto saving = io.run([go, saved] {
    go.wait().get();
    saved.set();
  });
  try {
    co_await troupe::shield(std::move(saving)).timeout(5ms);
  } catch (const troupe::failure&) {
    go.set();
  }
  co_await saved.wait();
  say("asyncio.shield", "nobody waits any more, and it is saved all the same");
}

troupe::task<void> retry(self_ptr, troupe::pool io) {
  auto calls = std::make_shared<std::atomic<int>>(0);
  auto request = io.run([calls] {
    if (++*calls < 3)
      throw std::runtime_error{"connection refused"};
    return "good at attempt " + std::to_string(*calls);
  });
  request.retry({.attempts = 5, .backoff = 1ms});
  auto text = co_await std::move(request);
  say("tenacity.retry", text);
}

troupe::task<void> hedge(self_ptr, troupe::pool io) {
  auto calls = std::make_shared<std::atomic<int>>(0);
  // The first copy is stuck until somebody asks it to stop.
  auto request = io.run([calls](troupe::context& context) {
    auto number = ++*calls;
    while (number == 1 && !context.stop_token().stop_requested())
      std::this_thread::sleep_for(1ms);
    return number;
  });
  auto number = co_await std::move(request).hedge_after(5ms);
  say("hedged requests", "answered by copy " + std::to_string(number));
}

troupe::task<void> progress(self_ptr, troupe::pool io) {
  auto last = std::make_shared<troupe::progress>();
  auto request = io.map(std::vector{1, 2, 3, 4}, count_primes);
  request.on_progress([last](const troupe::progress& now) { *last = now; });
  co_await std::move(request);
  say("tqdm.gather", std::to_string(last->done) + " of "
                         + std::to_string(last->total) + " are done");
}

// -- threads and executors ----------------------------------------------------

troupe::task<void> executor_map(self_ptr, troupe::pool io) {
  auto request = io.map(std::vector{3, 1, 2}, [](int x) { return x * x; });
  auto squares = co_await std::move(request);
  std::string text;
  for (auto x : squares)
    text += " " + std::to_string(x);
  say("Executor.map", "in input order:" + text);
}

troupe::task<void> executor_imap(self_ptr, troupe::pool io) {
  auto squares = io.imap(
      std::views::iota(1), [](int x) { return x * x; }, 4);
  std::string text;
  for (auto i = 0; i < 5; ++i) {
    auto next = co_await squares.next();
    text += " " + std::to_string(*next);
  }
  say("Executor.map(buffersize=4)", "of an endless range:" + text);
}

troupe::task<void> check_cancelled(self_ptr self, troupe::pool io) {
  std::stop_source stop;
  troupe::event began{self->system()};
  auto request = io.run([began](troupe::context& context) {
    began.set();
    while (!context.stop_token().stop_requested())
      std::this_thread::sleep_for(1ms);
    return std::string{"the call has noticed"};
  });
  auto running = std::move(request).stop_with(stop.get_token()).start();
  co_await began.wait();
  stop.request_stop();
  say("from_thread.check_cancelled", co_await std::move(running));
}

troupe::task<void> done_callback(self_ptr self, troupe::pool io) {
  troupe::event called{self->system()};
  io.run(after, 1ms, "called back")
      .then(self, [called](const std::string& text) {
        say("Future.add_done_callback", text);
        called.set();
      });
  co_await called.wait();
}

troupe::task<void> thread_safe(self_ptr, troupe::pool io) {
  // A thread that knows of no actor; joining it is a blocking call.
  auto other = io.run([io] {
    std::string text;
    std::thread thread{[&] { text = io.run(after, 1ms, "done").get(); }};
    thread.join();
    return text;
  });
  say("run_coroutine_threadsafe",
      "any thread may wait: " + co_await std::move(other));
}

troupe::task<void> io_and_cpu(self_ptr self, troupe::pool io) {
  troupe::compute_pool cpu{self->system()};
  auto [page, primes, more] = co_await troupe::gather(
      io.run(after, 20ms, "a page"), cpu.run(count_primes, 10'000),
      cpu.run(count_primes, 20'000));
  say("ProcessPoolExecutor", "beside I/O, in one gather: " + page + ", "
                                 + std::to_string(primes) + " and "
                                 + std::to_string(more) + " primes");
}

// -- synchronisation ----------------------------------------------------------

troupe::task<void> wait_and_say(self_ptr, troupe::event when) {
  co_await when.wait();
  say("asyncio.Event", "it is set, and who waited goes on");
}

troupe::task<void> event(self_ptr self, troupe::pool) {
  troupe::event happened{self->system()};
  auto waiting = wait_and_say(self, happened).start();
  happened.set();
  co_await std::move(waiting);
}

troupe::task<void> enter(self_ptr self, troupe::semaphore doors,
                         std::shared_ptr<crowd> inside) {
  auto permit = co_await doors.acquire();
  inside->enter();
  co_await troupe::sleep_for(self, 2ms);
  inside->leave();
}

troupe::task<void> semaphore(self_ptr self, troupe::pool) {
  auto inside = std::make_shared<crowd>();
  troupe::semaphore doors{self->system(), 2};
  std::vector<troupe::task<void>> visitors;
  for (auto i = 0; i < 6; ++i)
    visitors.push_back(enter(self, doors, inside));
  co_await troupe::gather(std::move(visitors));
  say("asyncio.Semaphore(2)",
      "of 6 tasks, at once inside: " + std::to_string(inside->most()));
}

troupe::task<std::size_t> meet(self_ptr, troupe::barrier all) {
  co_return co_await all.wait();
}

troupe::task<void> barrier(self_ptr self, troupe::pool) {
  troupe::barrier all{self->system(), 3};
  auto [a, b, c] = co_await troupe::gather(meet(self, all), meet(self, all),
                                           meet(self, all));
  say("asyncio.Barrier(3)", "all have met: " + std::to_string(a) + " "
                                + std::to_string(b) + " " + std::to_string(c));
}

troupe::task<void> produce(self_ptr, troupe::channel<int> numbers) {
  for (auto i = 1; i <= 4; ++i)
    co_await numbers.push(i);
  numbers.close();
}

troupe::task<int> consume(self_ptr, troupe::channel<int> numbers) {
  auto sum = 0;
  while (auto next = co_await numbers.pop())
    sum += *next;
  co_return sum;
}

troupe::task<void> queue(self_ptr self, troupe::pool) {
  troupe::channel<int> numbers{self->system(), 2};
  auto [done, sum] =
      co_await troupe::gather(produce(self, numbers), consume(self, numbers));
  say("asyncio.Queue(2)",
      "the sum of what went through: " + std::to_string(sum));
}

// -- anyio --------------------------------------------------------------------

troupe::task<void> limiter(self_ptr, troupe::pool io) {
  auto inside = std::make_shared<crowd>();
  std::vector<troupe::operation<void>> calls;
  for (auto i = 0; i < 6; ++i)
    calls.push_back(io.run([inside] {
                        inside->enter();
                        std::this_thread::sleep_for(1ms);
                        inside->leave();
                      }).key("database", 1));
  co_await troupe::gather(std::move(calls));
  say("anyio.CapacityLimiter(1)",
      "of 6 calls, at once in the database: " + std::to_string(inside->most()));
}

} // namespace

int main(int argc, char** argv) {
  troupe::config cfg;
  if (auto status = cfg.parse_command_line(argc, argv))
    return *status;
  caf::actor_system sys{cfg};
  // Some of these calls wait for each other, so they need as many workers.
  troupe::pool io{sys, troupe::pool_options{.name = "io", .workers = 4}};
  using section = troupe::task<void> (*)(self_ptr, troupe::pool);
  constexpr section sections[] = {to_thread,
                                  create_task,
                                  task_group,
                                  exception_group,
                                  cancel,
                                  context_variables,
                                  gather,
                                  gather_failure,
                                  return_exceptions,
                                  first_completed,
                                  first_succeeded,
                                  as_completed,
                                  wait_for,
                                  wait_with_timeout,
                                  shield,
                                  retry,
                                  hedge,
                                  progress,
                                  executor_map,
                                  executor_imap,
                                  check_cancelled,
                                  done_callback,
                                  thread_safe,
                                  io_and_cpu,
                                  event,
                                  semaphore,
                                  barrier,
                                  queue,
                                  limiter};
  for (auto show : sections)
    troupe::run(sys, show, io);
  if (std::cout.flush())
    return 0;
  std::cerr << "asyncio_tour: cannot write to standard output\n";
  return 1;
}
