// Asio's thread_pool, as its users write it: `post` a closure that fills a
// slot. One request at a time is done in two ways, through an atomic and
// through a future; rows take the faster one.

#ifdef TROUPE_BENCH_HAS_ASIO

#  include <asio/bind_executor.hpp>
#  include <asio/post.hpp>
#  include <asio/thread_pool.hpp>
#  include <asio/use_future.hpp>

#  include "flight.hpp"
#  include "team.hpp"

namespace bench {

namespace {

template <class Call>
class asio_team : public team {
public:
  asio_team(Call call, std::size_t workers) : call_{call}, pool_{workers} {}

  ~asio_team() override { pool_.join(); }

  void start(std::span<const std::uint64_t> inputs) override {
    auto batch = std::make_unique<call_flight<Call>>(call_, inputs);
    for (std::size_t i = 0; i < inputs.size(); ++i)
      asio::post(pool_, [to = batch.get(), i] { to->run(i); });
    under_way_ = std::move(batch);
  }

  std::vector<std::uint64_t> finish() override { return under_way_->wait(); }

  std::vector<std::uint64_t> gather_different(std::size_t count) override {
    flight batch{count};
    for (std::size_t i = 0; i < count; ++i)
      with_different_call(i, [&](auto call) {
        asio::post(pool_, [&batch, i, call] { batch.put(i, call()); });
      });
    return batch.wait();
  }

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::vector<std::uint64_t> results;
    for (std::uint64_t i = 0; i < count; ++i) {
      std::atomic<int> ready{0};
      std::uint64_t result = 0;
      asio::post(pool_, [&] {
        result = call_(i);
        ready = 1;
        ready.notify_one();
      });
      ready.wait(0);
      results.push_back(result);
    }
    return results;
  }

protected:
  Call call_;
  std::unique_ptr<flight> under_way_;
  asio::thread_pool pool_;
};

template <class Call>
class asio_future_team : public asio_team<Call> {
public:
  using asio_team<Call>::asio_team;

  std::vector<std::uint64_t> round_trips(std::size_t count) override {
    std::vector<std::uint64_t> results;
    for (std::uint64_t i = 0; i < count; ++i) {
      auto answer = asio::post(
          this->pool_.get_executor(),
          asio::use_future([call = this->call_, i] { return call(i); }));
      results.push_back(answer.get());
    }
    return results;
  }
};

template <template <class> class Team>
std::unique_ptr<team> make(const team_options& options) {
  return std::visit(
      [&](auto call) -> std::unique_ptr<team> {
        return std::make_unique<Team<decltype(call)>>(call, options.workers);
      },
      options.what);
}

} // namespace

std::unique_ptr<team> make_asio(const team_options& options) {
  return make<asio_team>(options);
}

std::unique_ptr<team> make_asio_future(const team_options& options) {
  return make<asio_future_team>(options);
}

} // namespace bench

#endif
