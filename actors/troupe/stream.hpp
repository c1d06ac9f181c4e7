// The results of `pool::imap`: pulled by the reader, in input order, with a
// bounded window of requests under way.

#pragma once

#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <optional>
#include <ranges>
#include <stop_token>
#include <type_traits>
#include <utility>

#include "troupe/operation.hpp"
#include "troupe/pool.hpp"

namespace troupe {

/// A stream of results in input order. Belongs to one reader at a time. A
/// stream that goes before its end is stopped.
///
/// Shape:  one result per element; the range of blocking readers, or `next` for
///         everybody, which yields nothing at the end.
/// Errors: a failed element throws from `next` (or from the iterator); the next
///         call goes on with the element behind it.
template <class T>
class [[nodiscard]] stream {
public:
  /// Returns the next request, or nothing at the end of the range.
  using pull_function = std::function<std::optional<operation<T>>()>;

  stream(pull_function pull, std::size_t window)
      : pull_{std::move(pull)}, window_{window} {}

  stream(stream&&) noexcept = default;

  stream& operator=(stream&&) = delete;

  ~stream() { stop(); }

  /// Pulls no more elements, cancels what has not started, and asks what runs
  /// to stop. Does not wait for it. The stream has ended then.
  void stop() noexcept {
    ended_ = true;
    cut_off_ = false;
    for (auto& request : under_way_)
      request.consume()->cancel(ec::cancelled);
    under_way_.clear();
  }

  /// Pulls no more elements and cancels what has not started once `token` is
  /// stopped. `next` then throws `failure` with `ec::cancelled` for each
  /// element that never ran and once for those never pulled, then yields
  /// nothing.
  stream&& stop_with(std::stop_token token) && {
    token_ = std::move(token);
    return std::move(*this);
  }

  stream& stop_with(std::stop_token token) & {
    token_ = std::move(token);
    return *this;
  }

  /// Returns the result of the next element; nothing after the last one.
  operation<std::optional<T>> next() {
    fill();
    if (under_way_.empty()) {
      auto end = make_ref<stream_step>(ref_ptr<op_state>{});
      if (std::exchange(cut_off_, false))
        end->cancel(ec::cancelled);
      return operation<std::optional<T>>{std::move(end)};
    }
    auto first = std::move(under_way_.front());
    under_way_.pop_front();
    return operation<std::optional<T>>{make_ref<stream_step>(first.consume())};
  }

  /// Reads the stream by blocking, as a range.
  class iterator {
  public:
    using value_type = T;
    using difference_type = std::ptrdiff_t;
    using iterator_concept = std::input_iterator_tag;

    iterator() = default;

    explicit iterator(stream& from) : from_{&from} { ++*this; }

    T& operator*() const { return *from_->current_; }

    iterator& operator++() {
      from_->current_ = from_->next().get();
      return *this;
    }

    void operator++(int) { ++*this; }

    friend bool operator==(const iterator& x, std::default_sentinel_t) {
      return x.at_end();
    }

  private:
    bool at_end() const { return !from_->current_; }

    stream* from_ = nullptr;
  };

  iterator begin() { return iterator{*this}; }

  std::default_sentinel_t end() const { return std::default_sentinel; }

private:
  /// Passes on the outcome of one request.
  class stream_step final : public plain_op, private continuation {
  public:
    explicit stream_step(ref_ptr<op_state> source)
        : source_{std::move(source)} {}

    void* result() override {
      if (source_ && !result_)
        result_.emplace(std::move(*static_cast<T*>(source_->result())));
      return &result_;
    }

    void help() noexcept override {
      if (source_)
        source_->help();
    }

    std::chrono::nanoseconds spin() const noexcept override {
      return source_ ? source_->spin() : std::chrono::nanoseconds{0};
    }

  protected:
    void begin() override {
      if (!source_ || !source_->attach(*this))
        pass_on();
    }

    void stop(ec why) noexcept override {
      if (source_)
        source_->cancel(why);
    }

  private:
    void on_complete(op_state&) noexcept override { pass_on(); }

    void pass_on() noexcept {
      if (source_)
        this->failure_ = source_->failed();
      this->finish();
    }

    ref_ptr<op_state> source_;
    std::optional<T> result_;
  };

  void fill() {
    while (!ended_ && under_way_.size() < window_) {
      if (token_.stop_requested()) {
        ended_ = cut_off_ = true;
        return;
      }
      auto request = pull_();
      if (!request) {
        ended_ = true;
        return;
      }
      if (token_.stop_possible())
        request->stop_with(token_);
      under_way_.push_back(request->start());
    }
  }

  pull_function pull_;
  std::size_t window_;
  std::stop_token token_;
  std::deque<operation<T>> under_way_;
  std::optional<T> current_;
  bool ended_ = false;
  // Elements are left that nobody will pull, which the reader has not heard.
  bool cut_off_ = false;
};

template <std::ranges::input_range Range, class F>
auto pool::imap(Range&& range, F fn, std::size_t max_in_flight) const {
  using elements = std::remove_cvref_t<Range>;
  using element = std::ranges::range_value_t<elements>;
  // Where the range has been read up to, and what is called.
  struct source {
    source(pool owner, elements xs, F f)
        : home{std::move(owner)},
          range(std::move(xs)),
          call{std::make_shared<F>(std::move(f))} {}

    pool home;
    elements range;
    std::shared_ptr<F> call;
    std::optional<std::ranges::iterator_t<elements>> at;
  };
  auto from = std::make_shared<source>(
      *this, elements(std::forward<Range>(range)), std::move(fn));
  using result = request_result_t<F&, element&>;
  auto pull = [from]() -> std::optional<operation<result>> {
    // Advances late: the elements of a lazy range may be expensive.
    if (!from->at)
      from->at.emplace(std::ranges::begin(from->range));
    else
      ++*from->at;
    if (*from->at == std::ranges::end(from->range))
      return std::nullopt;
    return from->home.run(
        [](context& ctx, const std::shared_ptr<F>& call, element x) -> result {
          return call_request(ctx, *call, x);
        },
        from->call, static_cast<element>(**from->at));
  };
  auto window = max_in_flight > 0 ? max_in_flight : 4 * options().workers;
  return stream<result>{std::move(pull), window};
}

} // namespace troupe
