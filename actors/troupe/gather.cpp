#include "troupe/gather.hpp"

#include <algorithm>
#include <unordered_map>

#include "troupe/dispatcher.hpp"
#include "troupe/group_batch.hpp"

namespace troupe {

gather_state::gather_state(std::vector<ref_ptr<op_state>> parts,
                           on_failure policy)
    : parts_{std::move(parts)}, policy_{policy} {}

gather_state::~gather_state() {
  if (!started())
    for (auto& part : parts_)
      part->forget();
}

void gather_state::begin() {
  // Those that have no name of their own, and have not begun without one.
  if (!label().empty())
    for (auto& part : parts_)
      if (!part->started() && part->label_text().empty())
        part->set_label(label());
  form_groups();
  if (policy_ == on_failure::settle_each)
    for (auto& part : started_)
      if (!part->started())
        part->measure();
  if (progress_)
    watch_progress();
  if (started_.empty()) {
    end();
    return;
  }
  barrier_.emplace(static_cast<std::uint32_t>(started_.size()));
  for (auto& part : started_) {
    auto why = stop_reason_.load(std::memory_order_seq_cst);
    if (why == ec{}) {
      part->start();
      begun_.fetch_add(1, std::memory_order_seq_cst);
      // Whoever failed or was stopped meanwhile has passed over this part,
      // unless it saw that it had begun.
      why = stop_reason_.load(std::memory_order_seq_cst);
    }
    if (why != ec{})
      part->cancel(why);
    if (!part->attach(*this))
      on_complete(*part);
  }
}

// Single requests of the same pool become one batch: one submission, and claims
// instead of hand-offs.
void gather_state::form_groups() {
  std::unordered_map<dispatcher*, std::vector<batch*>> groups;
  dispatcher* last_home = nullptr;
  std::vector<batch*>* last_group = nullptr;
  for (std::size_t i = 0; i < parts_.size(); ++i) {
    if (i + fetch_distance < parts_.size())
      fetch_early(parts_[i + fetch_distance].get(), 1);
    auto& part = parts_[i];
    auto single = part->as_batch();
    if (!single || !single->is_single() || !single->plain()) {
      started_.push_back(part);
      continue;
    }
    // Mostly they are all of the same pool.
    if (last_group == nullptr || single->home() != last_home) {
      last_home = single->home();
      last_group = &groups[last_home];
      last_group->reserve(parts_.size());
    }
    last_group->push_back(single);
  }
  for (auto& [home, members] : groups)
    form_group(home, std::move(members));
}

void gather_state::form_group(dispatcher* home, std::vector<batch*> members) {
  if (members.size() == 1)
    start_with_settings(ref_ptr<batch>{members.front()});
  else
    add_group(make_ref<group_batch>(std::move(members),
                                    policy_ == on_failure::settle_each),
              ref_ptr<dispatcher>{home});
}

void gather_state::add_group(ref_ptr<batch> made, ref_ptr<dispatcher> home) {
  groups_.push_back(made.get());
  made->set_home(std::move(home));
  if (!label().empty())
    made->set_label(label());
  start_with_settings(std::move(made));
}

void gather_state::add_part(ref_ptr<op_state> part) noexcept {
  parts_.push_back(std::move(part));
}

void gather_state::start_with_settings(ref_ptr<batch> made) {
  made->modify(for_groups_);
  if (deadline_ != clock::time_point::max())
    made->set_deadline(deadline_);
  started_.push_back(std::move(made));
}

// Batches count their requests themselves, everything else counts as one: so
// does a batch that has begun, or tells somebody else.
void gather_state::watch_progress() {
  for (auto& part : started_)
    if (auto calls = part->as_batch();
        calls && !calls->started() && !calls->reports_progress())
      calls->report_to(progress_);
    else
      progress_->add_total(1);
}

bool gather_state::counts_itself(op_state& part) const noexcept {
  auto calls = part.as_batch();
  return calls && calls->reports_to(*progress_);
}

void gather_state::on_complete(op_state& part) noexcept {
  if (progress_ && !counts_itself(part))
    progress_->add_done(1, part.failed() ? 1 : 0);
  if (policy_ == on_failure::cancel_others)
    if (auto why = part.failed())
      fail(std::move(why));
  if (barrier_->arrive(1))
    end();
}

void gather_state::end() noexcept {
  if (progress_)
    progress_->finish();
  finish();
}

void gather_state::fail(failure_ptr why) noexcept {
  if (has_failed_.exchange(true, std::memory_order_acq_rel))
    return;
  failure_ = std::move(why);
  stop(ec::cancelled);
}

void gather_state::stop(ec why) noexcept {
  auto none = ec{};
  stop_reason_.compare_exchange_strong(none, why, std::memory_order_seq_cst);
  auto begun = begun_.load(std::memory_order_seq_cst);
  for (std::size_t i = 0; i < begun; ++i)
    started_[i]->cancel(why);
}

void gather_state::drop(ec why) noexcept {
  if (has_started_part()) {
    // What they refer to may go with whoever waits for all.
    stop(why);
    begin();
    return;
  }
  end_progress();
  for (auto& part : parts_)
    part->forget();
  plain_op::drop(why);
}

bool gather_state::has_started_part() const noexcept {
  return std::any_of(parts_.begin(), parts_.end(),
                     [](const auto& part) { return part->started(); });
}

void gather_state::help() noexcept {
  for (auto& part : started_)
    part->help();
}

bool gather_state::hangs(hang_check& check) noexcept {
  auto result = false;
  for (auto& part : started_)
    if (!part->done() && part->hangs(check))
      result = true;
  return result;
}

bool gather_state::is_settled_by_cancel() const noexcept {
  return std::all_of(started_.begin(), started_.end(), [](const auto& part) {
    return part->is_settled_by_cancel();
  });
}

void gather_state::end_progress() noexcept {
  if (progress_) {
    if (started_.empty())
      progress_->add_total(size());
    progress_->finish();
  }
  for (auto& part : parts_)
    part->end_progress();
}

dispatcher* gather_state::queue() const noexcept {
  return started_.empty() ? nullptr : started_.front()->queue();
}

bool gather_state::modify(const modifiers& mods) {
  if (mods.progress) {
    progress_ = mods.progress;
    return true;
  }
  auto& ours = for_groups_;
  if (mods.priority && !(mods.of_whole && ours.priority))
    ours.priority = mods.priority;
  if (mods.max_in_flight)
    ours.max_in_flight = mods.of_whole && ours.max_in_flight
                             ? std::min(ours.max_in_flight, mods.max_in_flight)
                             : mods.max_in_flight;
  auto of_whole = mods;
  of_whole.of_whole = true;
  auto group_wide = mods.priority || mods.max_in_flight;
  auto taken = parts_.empty();
  for (auto& part : parts_) {
    // One that has begun is as it was begun.
    if (part->started()) {
      taken = true;
      continue;
    }
    auto single = part->as_batch();
    auto in_group = single && single->is_single() && single->plain();
    taken = (group_wide && in_group) || part->modify(of_whole) || taken;
  }
  return taken;
}

void gather_state::set_deadline(clock::time_point when) noexcept {
  deadline_ = std::min(deadline_, when);
  for (auto& part : parts_)
    if (auto single = part->as_batch();
        !part->started() && (!single || !single->is_single()))
      part->set_deadline(when);
}

clock& gather_state::time() const noexcept {
  return parts_.empty() ? steady_clock() : parts_.front()->time();
}

} // namespace troupe
