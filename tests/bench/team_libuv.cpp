// libuv's uv_queue_work: the caller's thread owns the loop, queues work, and
// runs the loop until all of it is done. The size of libuv's pool is a setting
// of the process, which is one reason why every sample has its own.

#ifdef TROUPE_BENCH_HAS_LIBUV

#  include <cstdlib>
#  include <functional>
#  include <string>

#  include <uv.h>

#  include "team.hpp"

namespace bench {

namespace {

/// Queues `request` or throws.
void queue(uv_loop_t& loop, uv_work_t& request, uv_work_cb run) {
  auto status =
      uv_queue_work(&loop, &request, run, [](uv_work_t* done, int failed) {
        if (failed != 0)
          ++*static_cast<std::size_t*>(done->loop->data);
      });
  if (status != 0)
    throw std::runtime_error{std::string{"uv_queue_work: "}
                             + uv_strerror(status)};
}

template <class Call>
class libuv_team : public team {
public:
  libuv_team(Call call, std::size_t workers) : call_{call} {
    setenv("UV_THREADPOOL_SIZE", std::to_string(workers).c_str(), 1);
    uv_loop_init(&loop_);
    loop_.data = &failed_;
  }

  ~libuv_team() override { uv_loop_close(&loop_); }

  void start(std::span<const std::uint64_t> inputs) override {
    requests_ = std::vector<request>(inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      auto& one = requests_[i];
      one.team = this;
      one.value = inputs[i];
      one.work.data = &one;
      queue(loop_, one.work, [](uv_work_t* work) {
        auto& mine = *static_cast<request*>(work->data);
        mine.value = mine.team->call_(mine.value);
      });
    }
  }

  std::vector<std::uint64_t> finish() override {
    run_loop();
    std::vector<std::uint64_t> results;
    results.reserve(requests_.size());
    for (const auto& one : requests_)
      results.push_back(one.value);
    requests_ = {};
    return results;
  }

  std::vector<std::uint64_t> gather_different(std::size_t count) override {
    std::vector<different> requests(count);
    for (std::size_t i = 0; i < count; ++i) {
      auto& one = requests[i];
      with_different_call(i, [&](auto call) { one.call = call; });
      one.work.data = &one;
      queue(loop_, one.work, [](uv_work_t* work) {
        auto& mine = *static_cast<different*>(work->data);
        mine.value = mine.call();
      });
    }
    run_loop();
    std::vector<std::uint64_t> results;
    results.reserve(count);
    for (const auto& one : requests)
      results.push_back(one.value);
    return results;
  }

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::vector<std::uint64_t> results;
    for (std::uint64_t i = 0; i < count; ++i) {
      start({&i, 1});
      results.push_back(finish().front());
    }
    return results;
  }

private:
  struct request {
    uv_work_t work{};
    libuv_team* team = nullptr;
    std::uint64_t value = 0; ///< the input, then the result
  };

  struct different {
    uv_work_t work{};
    std::function<std::uint64_t()> call;
    std::uint64_t value = 0;
  };

  void run_loop() {
    uv_run(&loop_, UV_RUN_DEFAULT);
    if (failed_ != 0)
      throw std::runtime_error{"libuv cancelled work that nobody cancelled"};
  }

  Call call_;
  uv_loop_t loop_{};
  std::size_t failed_ = 0;
  std::vector<request> requests_;
};

} // namespace

std::unique_ptr<team> make_libuv(const team_options& options) {
  return std::visit(
      [&](auto call) -> std::unique_ptr<team> {
        return std::make_unique<libuv_team<decltype(call)>>(call,
                                                            options.workers);
      },
      options.what);
}

} // namespace bench

#endif
