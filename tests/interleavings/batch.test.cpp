// The real batch.cpp and dispatcher.cpp, step by step: each request is started
// or dropped, once, and the batch delivers, once, in every order in which a few
// workers, a cancel and a submit can meet on x86.

#include "troupe/dispatcher.hpp"
#include "troupe/map_batch.hpp"
#include "troupe/run_batch.hpp"

#include <catch2/catch.hpp>

#include <chrono>
#include <memory>
#include <optional>
#include <ranges>
#include <string>
#include <vector>

using explore::options;
using explore::world;
using troupe::batch;
using troupe::ref_ptr;
using troupe::worker_cell;

namespace {

/// As a worker does it, but for as long as there is something to claim: the
/// clock would end its turn at another place each time.
troupe::leave_reason participate(worker_cell& cell, batch& work) {
  using std::chrono::steady_clock;
  cell.set_mark(steady_clock::time_point::max() - std::chrono::hours{1});
  return work.participate(cell, false);
}

class told final : public troupe::continuation {
public:
  void on_complete(troupe::op_state&) noexcept override {
    if (++times > 1)
      explore::fail("the batch was delivered twice");
    over.call();
  }

  int times = 0;
  explore::signal over;
};

/// A pool whose workers are threads of the explorer, with one mailbox each.
struct crew {
  struct member {
    worker_cell* cell = nullptr;
    explore::signal mailbox;
  };

  class script final : public troupe::staff {
  public:
    explicit script(crew& home) : home_{home} {}

    void wake(worker_cell& cell) noexcept override {
      for (auto& each : home_.members)
        if (each->cell == &cell)
          each->mailbox.call();
    }

    void grow() noexcept override {}
    void drained() noexcept override { ++home_.drained; }
    void completed(troupe::completion) noexcept override {}
    void call_after(std::chrono::nanoseconds,
                    std::function<void()>) noexcept override {}
    void call_at(troupe::clock&, troupe::clock::time_point,
                 std::function<void()>) noexcept override {}

  private:
    crew& home_;
  };

  explicit crew(std::size_t workers) {
    troupe::effective_options how;
    how.name = "test";
    how.workers = how.min_workers = workers;
    home = troupe::make_ref<troupe::dispatcher>(
        how, std::make_unique<script>(*this));
    for (auto n = home->take_growth(); n > 0; --n) {
      auto made = std::make_unique<worker_cell>(
          *home, static_cast<int>(members.size()) + 1);
      members.push_back(std::make_unique<member>());
      members.back()->cell = made.get();
      home->add(std::move(made));
    }
  }

  /// The loop of actors/troupe/worker.cpp.
  void work(std::size_t i) {
    auto& me = *members[i];
    auto found = home->next(*me.cell, nullptr, troupe::leave_reason::exhausted);
    for (;;) {
      while (found.work) {
        home->take_up(*me.cell, *found.work);
        auto why = participate(*me.cell, *found.work);
        found = home->next(*me.cell, found.work, why);
      }
      if (found.retire)
        break;
      me.mailbox.wait();
      found = me.cell->take();
    }
    home->lost(*me.cell);
  }

  ref_ptr<troupe::dispatcher> home;
  std::vector<std::unique_ptr<member>> members;
  int drained = 0;
};

/// A batch under observation.
struct watched {
  explicit watched(std::uint32_t n) : started(n) {}

  void start(std::uint32_t index) {
    if (++started[index] > 1)
      explore::fail("request " + std::to_string(index) + " was started twice");
  }

  void submit(crew& to, ref_ptr<batch> made) {
    prepare(to, std::move(made));
    work->start();
  }

  void prepare(crew& to, ref_ptr<batch> made) {
    work = std::move(made);
    work->attach(heard);
    work->set_home(to.home);
  }

  /// Checks what must hold when nobody works on the batch any more.
  void check() {
    auto ran = 0;
    for (auto n : started)
      ran += n;
    if (!work->done() || heard.times != 1) {
      explore::fail("the batch was never delivered");
      return;
    }
    auto sum = work->counts();
    if (sum.succeeded != static_cast<std::uint32_t>(ran)
        || sum.succeeded + sum.cancelled != started.size())
      explore::fail(
          std::to_string(ran) + " ran; " + std::to_string(sum.succeeded)
          + " and " + std::to_string(sum.cancelled) + " of "
          + std::to_string(started.size()) + " were started or dropped");
  }

  std::vector<int> started;
  told heard;
  ref_ptr<batch> work;
};

/// Has the code under test know which worker's thread is running.
struct binding {
  void operator()(worker_cell* cell) {
    bound.reset();
    if (cell)
      bound.emplace(*cell);
  }

  std::optional<worker_cell::bind_thread> bound;
};

struct state {
  state(std::size_t workers, std::uint32_t requests)
      : pool{workers}, first{requests} {}

  // The workers are the first threads of the world.
  void bind_workers(world& w) {
    w.on_switch = [this](int who) {
      auto n = static_cast<int>(pool.members.size());
      bind(who >= 0 && who < n
               ? pool.members[static_cast<std::size_t>(who)]->cell
               : nullptr);
    };
  }

  binding bind;
  crew pool;
  watched first;
  watched second{1};
};

/// A map that only counts what it starts.
ref_ptr<batch> counting_map(watched& in) {
  return troupe::make_map(
      std::views::iota(0u, static_cast<std::uint32_t>(in.started.size())),
      [&in](std::uint32_t i) { in.start(i); });
}

ref_ptr<batch> counting_run(watched& in) {
  return ref_ptr<batch>{troupe::make_batch([&in] { in.start(0); }).ref().get()};
}

template <class Body>
void check_in_every_order(const char* what, Body body,
                          const options& how = {}) {
  auto result = explore::all(how, body);
  CHECK(result.failure == "");
  CHECK(result.complete);
  WARN(what << ": " << result.runs << " orders");
}

/// For cases with too many orders to run them all. What store buffers can do to
/// a lane is in lane.test.cpp.
options with_interruptions(std::size_t n) {
  options how;
  how.store_buffers = how.reduce = false;
  how.most_steps = 1000;
  how.most_interruptions = n;
  return how;
}

/// Workers that claim from a batch of `size`, without a dispatcher between
/// them, and a cancel.
auto workers_and_cancel(std::size_t workers, std::uint32_t size, bool cancel) {
  return [=](world& w) {
    auto s = std::make_shared<state>(workers, size);
    s->bind_workers(w);
    s->first.submit(s->pool, counting_map(s->first));
    for (std::size_t i = 0; i < workers; ++i)
      w.thread("worker " + std::to_string(i + 1), [s, i] {
        // Called away by the submit, it comes back.
        while (participate(*s->pool.members[i]->cell, *s->first.work)
               == troupe::leave_reason::yielded)
          continue;
      });
    if (cancel)
      w.thread("cancel", [s] { s->first.work->cancel(troupe::ec::cancelled); });
    w.after([s] {
      s->first.check();
      s->pool.home->withdraw(*s->first.work);
    });
  };
}

/// A batch large enough to be claimed in chunks, with the first worker in the
/// middle of its last chunk but one when the others come, with one request in
/// its lane and one that nobody has claimed. `leaves` is whether the first
/// worker is called away just then.
auto thieves_and_cancel(std::size_t thieves, bool cancel, bool leaves) {
  return [=](world& w) {
    constexpr auto size = 64u;
    auto s = std::make_shared<state>(thieves + 1, size);
    s->bind_workers(w);
    // The size of a chunk depends on how many workers there are.
    s->pool.home->cancel_growth(thieves);
    auto go = std::make_shared<explore::signal[]>(thieves + 1);
    s->first.submit(s->pool,
                    troupe::make_map(
                        std::views::iota(0u, size),
                        [=, s = s.get(), met = false](std::uint32_t i) mutable {
                          s->first.start(i);
                          auto left = s->first.work->unclaimed();
                          auto in_lane = size - left - i - 1;
                          if (met || in_lane != 1 || left > 1)
                            return;
                          met = true;
                          // No worker is idle, so one is called.
                          if (leaves)
                            s->second.submit(s->pool, counting_run(s->second));
                          for (std::size_t t = 0; t <= thieves; ++t)
                            go[t].call();
                          explore::engine::active()->quiet(false);
                        }));
    w.thread("worker 1", [s] {
      explore::engine::active()->quiet(true);
      while (participate(*s->pool.members[0]->cell, *s->first.work)
             == troupe::leave_reason::yielded)
        continue;
    });
    for (std::size_t t = 1; t <= thieves; ++t)
      w.thread("worker " + std::to_string(t + 1), [s, go, t] {
        go[t].wait();
        while (participate(*s->pool.members[t]->cell, *s->first.work)
               == troupe::leave_reason::yielded)
          continue;
      });
    if (cancel)
      w.thread("cancel", [s, go] {
        go[0].wait();
        s->first.work->cancel(troupe::ec::cancelled);
      });
    w.after([s, leaves] {
      s->first.check();
      s->pool.home->withdraw(*s->first.work);
      if (leaves)
        s->second.work->cancel(troupe::ec::cancelled);
    });
  };
}

// The threads of workers with the dispatcher between them, and one that closes
// the pool when both batches of `s` have been delivered.
void add_pool(world& w, const std::shared_ptr<state>& s, bool both) {
  s->bind_workers(w);
  for (std::size_t i = 0; i < s->pool.members.size(); ++i)
    w.thread("worker " + std::to_string(i + 1), [s, i] { s->pool.work(i); });
  w.thread("close", [s, both] {
    s->first.heard.over.wait();
    if (both)
      s->second.heard.over.wait();
    s->pool.home->close();
  });
  w.after([s, both] {
    s->first.check();
    if (both)
      s->second.check();
    if (s->pool.home->outstanding() != 0)
      explore::fail("the pool says that something is outstanding");
    if (s->pool.home->live_workers() != 0)
      explore::fail("the pool says that a worker lives");
  });
}

} // namespace

TEST_CASE("workers start each request of a batch once, in every order",
          "[batch]") {
  check_in_every_order("two workers, two requests",
                       workers_and_cancel(2, 2, false));
  check_in_every_order("two workers, three requests",
                       workers_and_cancel(2, 3, false));
  check_in_every_order("three workers, two requests",
                       workers_and_cancel(3, 2, false));
}

TEST_CASE("each request is started or dropped once when a cancel comes, in "
          "every order",
          "[batch]") {
  check_in_every_order("two workers, one request",
                       workers_and_cancel(2, 1, true));
  check_in_every_order("two workers, two requests",
                       workers_and_cancel(2, 2, true));
  check_in_every_order("two workers, three requests",
                       workers_and_cancel(2, 3, true));
}

TEST_CASE("requests that are claimed together are started, stolen or dropped "
          "once, however a thief and a cancel interrupt",
          "[batch]") {
  check_in_every_order("a cancel", thieves_and_cancel(0, true, false));
  check_in_every_order("a thief", thieves_and_cancel(1, false, false),
                       with_interruptions(2));
  check_in_every_order("a thief and a cancel",
                       thieves_and_cancel(1, true, false),
                       with_interruptions(1));
}

TEST_CASE("what a worker leaves in its lane is stolen once, whoever interrupts",
          "[batch]") {
  check_in_every_order("a thief", thieves_and_cancel(1, false, true),
                       with_interruptions(1));
}

TEST_CASE("a request that is submitted while a worker falls asleep is run, in "
          "every order",
          "[batch]") {
  check_in_every_order("a worker and a submit", [](world& w) {
    auto s = std::make_shared<state>(1, 1);
    add_pool(w, s, false);
    w.thread("submit",
             [s] { s->first.submit(s->pool, counting_run(s->first)); });
  });
}

TEST_CASE("a worker that is called away leaves nothing behind, in every order",
          "[batch]") {
  check_in_every_order("a batch of two, and one that comes", [](world& w) {
    auto s = std::make_shared<state>(1, 2);
    s->first.submit(s->pool, counting_map(s->first));
    add_pool(w, s, true);
    w.thread("submit",
             [s] { s->second.submit(s->pool, counting_run(s->second)); });
  });
}

TEST_CASE("a batch that is cancelled while it is submitted is delivered once, "
          "in every order",
          "[batch]") {
  check_in_every_order("a worker, a submit and a cancel", [](world& w) {
    auto s = std::make_shared<state>(1, 1);
    s->first.prepare(s->pool, counting_run(s->first));
    add_pool(w, s, false);
    w.thread("submit", [s] { s->first.work->start(); });
    w.thread("cancel", [s] { s->first.work->cancel(troupe::ec::cancelled); });
  });
}
