// What the chaos program believes: each request that was ever asked for, how
// often it was begun and ended, and which outcomes were heard of it. Knows
// nothing of how they were made.

#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "troupe/error.hpp"

namespace chaos {

/// One request, or a batch whose outcome is one.
struct record {
  std::uint64_t id = 0;
  /// What was asked for, and how it is waited for.
  std::string what;
  /// How often it may be begun.
  int most_starts = 1;
  /// Whether others are its requests, with records of their own.
  bool of_many = false;
  /// Whether nobody may be left to hear of it.
  bool may_go_unheard = false;

  std::atomic<int> starts{0};
  std::atomic<int> ends{0};
  std::atomic<int> outcomes{0};
  // Of the first outcome.
  std::atomic<bool> succeeded{false};
  std::atomic<bool> never_started{false};
  std::atomic<std::uint8_t> code{0};
};

using record_ptr = std::shared_ptr<record>;

class ledger {
public:
  record_ptr add(std::string what) {
    auto made = std::make_shared<record>();
    made->what = std::move(what);
    std::lock_guard guard{mutex_};
    made->id = ++last_id_;
    records_.push_back(made);
    return made;
  }

  /// Notes what was heard; returns whether it was the first time.
  void hear_value(record& of) {
    if (of.outcomes++ == 0)
      of.succeeded = true;
    ++heard_;
  }

  void hear_failure(record& of, troupe::ec code, bool started) {
    if (of.outcomes++ == 0) {
      of.code = static_cast<std::uint8_t>(code);
      of.never_started = !started;
    }
    ++heard_;
  }

  /// Changes with every outcome: while it does, nothing hangs.
  std::uint64_t heard() const { return heard_; }

  std::uint64_t requests() const {
    std::lock_guard guard{mutex_};
    return last_id_;
  }

  /// Returns whether no request is between its begin and its end.
  bool all_returned() const {
    std::lock_guard guard{mutex_};
    for (auto& x : records_)
      if (x->starts != x->ends)
        return false;
    return true;
  }

  /// Returns how often requests were begun.
  std::uint64_t begun() const {
    std::lock_guard guard{mutex_};
    std::uint64_t n = 0;
    for (auto& x : records_)
      n += static_cast<std::uint64_t>(x->starts);
    return n;
  }

  /// Returns how often requests that were begun have ended.
  std::uint64_t ended() const {
    std::lock_guard guard{mutex_};
    std::uint64_t n = 0;
    for (auto& x : records_)
      n += static_cast<std::uint64_t>(x->ends);
    return n;
  }

  /// Returns how many requests there are, as far as each has a record.
  std::uint64_t asked() const {
    std::lock_guard guard{mutex_};
    std::uint64_t n = 0;
    for (auto& x : records_)
      n += !x->of_many;
    return n;
  }

  /// Notes something else that is wrong, for `close` to say.
  void complain(const std::string& what) {
    std::lock_guard guard{mutex_};
    complaints_ += what + "\n";
  }

  /// Returns how many have no outcome and are owed one.
  std::size_t outstanding() const {
    std::lock_guard guard{mutex_};
    std::size_t n = 0;
    for (auto& x : records_)
      n += x->outcomes == 0 && !x->may_go_unheard;
    return n;
  }

  /// Describes what has no outcome or has not returned.
  std::string unfinished() const {
    std::string out;
    std::lock_guard guard{mutex_};
    for (auto& x : records_)
      if (x->outcomes == 0 || x->starts != x->ends)
        out += describe(*x);
    return out;
  }

  /// Says what is wrong now that everything is over, and forgets all of it.
  std::string close() {
    std::lock_guard guard{mutex_};
    auto out = std::exchange(complaints_, {});
    for (auto& x : records_)
      if (auto why = complaint(*x); !why.empty())
        out += std::string{why} + describe(*x);
    records_.clear();
    return out;
  }

private:
  static std::string_view complaint(const record& x) {
    if (x.outcomes > 1)
      return "heard of more than once:";
    if (x.outcomes == 0 && !x.may_go_unheard)
      return "never heard of:";
    if (x.starts != x.ends)
      return "begun and not ended:";
    if (x.starts > x.most_starts)
      return "begun too often:";
    if (x.outcomes == 1 && x.succeeded && x.starts == 0 && !x.of_many)
      return "succeeded without being begun:";
    if (x.outcomes == 1 && x.never_started && x.starts > 0)
      return "begun, and reported as never started:";
    return {};
  }

  static std::string describe(const record& x) {
    return "  request " + std::to_string(x.id) + " (" + x.what + "): begun "
           + std::to_string(x.starts) + ", ended " + std::to_string(x.ends)
           + ", outcomes " + std::to_string(x.outcomes)
           + (x.succeeded ? ", a value"
              : x.code    ? ", "
                             + std::string{to_string(
                                 static_cast<troupe::ec>(x.code.load()))}
                       : "")
           + "\n";
  }

  mutable std::mutex mutex_;
  std::vector<record_ptr> records_;
  std::string complaints_;
  std::uint64_t last_id_ = 0;
  std::atomic<std::uint64_t> heard_{0};
};

} // namespace chaos
