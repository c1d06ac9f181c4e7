// The real burst_page.hpp, step by step: each call that is added is in one
// burst, and each that is over is collected once, in every order in which who
// adds, who closes and who ends them can meet on x86.

#include "troupe/burst_page.hpp"

#include <catch2/catch.hpp>

#include <bit>
#include <memory>
#include <string>
#include <vector>

using explore::options;
using explore::world;
using troupe::burst_call;
using troupe::burst_page;

namespace {

class no_call final : public burst_call {
public:
  troupe::run_result run(troupe::context&) noexcept override {
    return troupe::run_result{};
  }
  void drop(const troupe::failure_ptr&) noexcept override {}
  void deliver() override {}
  troupe::failure_ptr discard() noexcept override { return nullptr; }
};

/// A page without calls that could be made: only their numbers count.
class numbered_page final : public burst_page {
public:
  explicit numbered_page(std::uint32_t calls)
      : none_{*::new (room_for(sizeof(no_call))) no_call}, times_(calls) {}

  /// Adds a call, as an actor does; `open` stands for the dispatcher's list,
  /// under its lock.
  void add() {
    if (append(none_, 0))
      return;
    std::lock_guard guard{lock_};
    first_ = count() - 1;
    is_open_ = true;
    open();
  }

  /// Takes the calls of the open burst, if there is one, as a worker does.
  void take() {
    std::lock_guard guard{lock_};
    if (!is_open_)
      return;
    is_open_ = false;
    for (auto end = close(); first_ < end; ++first_)
      note(first_, "was in two bursts");
  }

  /// Collects what is over, as the actor does when it has been signalled.
  void collect() {
    if (!signalled_.exchange(false))
      return;
    for (auto calls = take_ended(); calls != 0; calls &= calls - 1)
      note(static_cast<std::uint32_t>(std::countr_zero(calls)),
           "was collected twice");
  }

  void check_all() {
    for (std::size_t i = 0; i < times_.size(); ++i)
      if (times_[i] == 0)
        explore::fail("call " + std::to_string(i) + " was lost");
  }

private:
  void note(std::uint32_t index, const char* twice) {
    if (++times_[index] > 1)
      explore::fail("call " + std::to_string(index) + " " + twice);
  }

  void signal() noexcept override {
    if (signalled_.exchange(true))
      explore::fail("the page was signalled twice");
  }

  // In the place of each.
  burst_call& none_;
  explore::mutex lock_;
  bool is_open_ = false;
  std::uint32_t first_ = 0;
  explore::atomic<bool> signalled_{false};
  std::vector<int> times_;
};

template <class Body>
void check_in_every_order(const char* what, Body body) {
  auto result = explore::all(options{}, body);
  CHECK(result.failure == "");
  CHECK(result.complete);
  WARN(what << ": " << result.runs << " orders");
}

} // namespace

TEST_CASE("each call that is added to a page is in one burst, in every order",
          "[burst_page]") {
  check_in_every_order("three calls and a worker that comes twice",
                       [](world& w) {
                         auto page = std::make_shared<numbered_page>(3);
                         w.thread("actor", [page] {
                           for (auto i = 0; i < 3; ++i)
                             page->add();
                         });
                         w.thread("worker", [page] {
                           page->take();
                           page->take();
                         });
                         w.after([page] {
                           page->take();
                           page->check_all();
                         });
                       });
}

TEST_CASE("each call of a page that is over is collected once, in every order",
          "[burst_page]") {
  check_in_every_order(
      "two workers with a call each, and an actor that looks twice",
      [](world& w) {
        auto page = std::make_shared<numbered_page>(2);
        for (auto i = 0; i < 2; ++i)
          w.thread("worker " + std::to_string(i),
                   [page, i] { page->end(std::uint64_t{1} << i); });
        w.thread("actor", [page] {
          page->collect();
          page->collect();
        });
        w.after([page] {
          page->collect();
          page->check_all();
        });
      });
}
