// oneTBB's task_group in an arena of as many threads as the others have. The
// caller's own thread takes one of the places while it waits, as TBB means it
// to. It has no round trip: the waiting thread would run the call itself.

#ifdef TROUPE_BENCH_HAS_TBB

#  include <oneapi/tbb/global_control.h>
#  include <oneapi/tbb/task_arena.h>
#  include <oneapi/tbb/task_group.h>

#  include "flight.hpp"
#  include "team.hpp"

namespace bench {

namespace {

template <class Call>
class tbb_team : public team {
public:
  tbb_team(Call call, std::size_t workers)
      : call_{call},
        limit_{tbb::global_control::max_allowed_parallelism, workers + 1},
        arena_{static_cast<int>(workers), 1} {}

  // Its group's own destructor may throw, which a team's must not.
  ~tbb_team() noexcept override = default;

  void start(std::span<const std::uint64_t> inputs) override {
    auto batch = std::make_unique<call_flight<Call>>(call_, inputs);
    arena_.execute([&] {
      for (std::size_t i = 0; i < inputs.size(); ++i)
        group_.run([to = batch.get(), i] { to->run(i); });
    });
    under_way_ = std::move(batch);
  }

  std::vector<std::uint64_t> finish() override {
    arena_.execute([&] { group_.wait(); });
    return under_way_->wait();
  }

  std::vector<std::uint64_t> gather_different(std::size_t count) override {
    flight batch{count};
    arena_.execute([&] {
      for (std::size_t i = 0; i < count; ++i)
        with_different_call(i, [&](auto call) {
          group_.run([&batch, i, call] { batch.put(i, call()); });
        });
      group_.wait();
    });
    return batch.wait();
  }

private:
  Call call_;
  std::unique_ptr<flight> under_way_;
  tbb::global_control limit_;
  tbb::task_arena arena_;
  tbb::task_group group_;
};

} // namespace

std::unique_ptr<team> make_tbb(const team_options& options) {
  return std::visit(
      [&](auto call) -> std::unique_ptr<team> {
        return std::make_unique<tbb_team<decltype(call)>>(call,
                                                          options.workers);
      },
      options.what);
}

} // namespace bench

#endif
