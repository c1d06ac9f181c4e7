#include "troupe/task_group.hpp"

#include <algorithm>
#include <string>

#include <fmt/format.h>

namespace troupe {

// -- group_failure ------------------------------------------------------------

namespace {

// Most failures that a text quotes.
constexpr std::size_t max_quoted = 5;

std::string quote(const std::vector<failure_ptr>& all) {
  auto text = fmt::format("{} members of a task group failed", all.size());
  for (std::size_t i = 0; i < std::min(all.size(), max_quoted); ++i)
    text += fmt::format("{} {}", i == 0 ? ":" : ";", all[i]->text);
  if (all.size() > max_quoted)
    text += fmt::format("; and {} more", all.size() - max_quoted);
  return text;
}

ec common_code(const std::vector<failure_ptr>& all) {
  auto same = std::all_of(all.begin(), all.end(), [&](const failure_ptr& x) {
    return x->code == all.front()->code;
  });
  return same ? all.front()->code : ec::request_failed;
}

} // namespace

group_failure::group_failure(std::vector<failure_ptr> all)
    : failure{common_code(all), quote(all), true},
      all_{std::make_shared<const std::vector<failure_ptr>>(std::move(all))} {}

// -- group_core ---------------------------------------------------------------

void group_core::start(group_member& member) {
  auto why = ec{};
  {
    std::lock_guard guard{mutex_};
    if (over_)
      throw failure{ec::already_consumed,
                    "the task group is over; start its members before the last "
                    "of them has ended, or before it is joined"};
    why = stop_reason_;
    if (why == ec{})
      ++active_;
  }
  if (why != ec{}) {
    member.cancel(why);
    return;
  }
  member.start();
  {
    std::lock_guard guard{mutex_};
    if (member.left_)
      return;
    member.next_ = first_;
    if (first_)
      first_->prev_ = &member;
    first_ = &member;
    member.linked_ = true;
    why = stop_reason_;
  }
  if (why != ec{})
    member.cancel(why);
}

group_core::~group_core() {
  if (!told_)
    for (const auto& why : failures_)
      report_unobserved({}, why);
}

void group_core::leave(group_member& member, const failure_ptr& why) noexcept {
  ref_ptr<group_core> keep{this};
  auto first_failure = false;
  // A member that was cancelled, by whomever, is no failure.
  auto counts = why && why->code != ec::cancelled;
  {
    std::lock_guard guard{mutex_};
    if (counts && why->code == stop_reason_ && member.asked_to_stop())
      counts = false;
    if (counts) {
      first_failure = stop_reason_ == ec{};
      failures_.push_back(why);
    }
  }
  // Before it is counted out, so that the group is not over meanwhile.
  if (first_failure)
    cancel(ec::cancelled);
  group_join* ended = nullptr;
  {
    std::lock_guard guard{mutex_};
    member.left_ = true;
    if (std::exchange(member.linked_, false)) {
      (member.prev_ ? member.prev_->next_ : first_) = member.next_;
      if (member.next_)
        member.next_->prev_ = member.prev_;
    }
    if (--active_ == 0 && joins_) {
      over_ = true;
      ended = std::exchange(joins_, nullptr);
    }
  }
  // Each holds a reference to itself until it has finished.
  while (ended)
    std::exchange(ended, ended->next_)->end();
}

std::vector<ref_ptr<group_member>> group_core::members() const {
  std::vector<ref_ptr<group_member>> all;
  std::lock_guard guard{mutex_};
  for (auto i = first_; i; i = i->next_)
    all.emplace_back(i);
  return all;
}

void group_core::cancel(ec why) noexcept {
  {
    std::lock_guard guard{mutex_};
    if (stop_reason_ != ec{})
      return;
    stop_reason_ = why;
  }
  for (auto& member : members())
    member->cancel(why);
}

void group_core::abandon() noexcept {
  cancel(ec::cancelled);
  std::lock_guard guard{mutex_};
  over_ = true;
}

void group_core::help() noexcept {
  for (auto& member : members())
    member->help();
}

bool group_core::add(group_join& join) noexcept {
  std::lock_guard guard{mutex_};
  if (active_ == 0) {
    over_ = true;
    return false;
  }
  join.next_ = joins_;
  joins_ = &join;
  return true;
}

// Called when nobody is left who could fail.
failure_ptr group_core::verdict() {
  std::lock_guard guard{mutex_};
  told_ = true;
  if (failures_.empty())
    return nullptr;
  if (failures_.size() == 1)
    return failures_.front();
  return make_failure(std::make_exception_ptr(group_failure{failures_}), {}, 0,
                      {});
}

// -- group_member -------------------------------------------------------------

group_member::group_member(ref_ptr<group_core> group, ref_ptr<op_state> inner)
    : group_{std::move(group)}, inner_{std::move(inner)} {}

void group_member::begin() {
  // Released by `on_complete`.
  ref();
  inner_->start();
  if (!inner_->attach(*this))
    on_complete(*inner_);
}

void group_member::drop(ec why) noexcept {
  inner_->end_progress();
  inner_->forget();
  plain_op::drop(why);
}

void group_member::on_complete(op_state&) noexcept {
  ref_ptr<group_member> keep{this, adopt_ref};
  auto why = inner_->failed();
  // First, so that a handle has its outcome when the join is complete.
  finish_with(why);
  group_->leave(*this, why);
}

// -- group_join ---------------------------------------------------------------

void group_join::begin() {
  if (!group_->add(*this))
    end();
}

void group_join::stop(ec why) noexcept {
  auto none = ec{};
  cancelled_.compare_exchange_strong(none, why, std::memory_order_seq_cst);
  group_->cancel(why);
}

// Whoever joins wants to know that all have ended, whatever else.
void group_join::drop(ec why) noexcept {
  stop(why);
  begin();
}

void group_join::end() noexcept {
  failure_ = group_->verdict();
  if (auto why = cancelled_.load(std::memory_order_seq_cst);
      !failure_ && why != ec{})
    failure_ = make_failure(
        why, "the wait for a task group was cancelled, and with it its members",
        true, label());
  finish();
}

} // namespace troupe
