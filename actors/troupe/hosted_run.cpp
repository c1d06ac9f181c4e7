#include "troupe/hosted_run.hpp"

#include <vector>

#include "troupe/wait_graph.hpp"
#include "troupe/worker_cell.hpp"

namespace troupe {

ref_ptr<hosted_run> hosted_run::on_worker() {
  if (worker_cell::current() == nullptr)
    return nullptr;
  auto made = make_ref<hosted_run>();
  made->start();
  return made;
}

void hosted_run::set_root(port& home, op_state& root) {
  home.set_patron(ref_ptr<port_patron>{this});
  std::lock_guard guard{mutex_};
  root_ = ref_ptr<op_state>{&root};
}

void hosted_run::over() noexcept {
  // The tasks refer to the port, and the port to this.
  ref_ptr<op_state> root;
  std::unordered_map<const op_state*, ref_ptr<op_state>> awaited;
  {
    std::lock_guard guard{mutex_};
    root = std::move(root_);
    awaited.swap(awaited_);
  }
  finish();
}

void hosted_run::awaits(const op_state& task, op_state* op) noexcept {
  ref_ptr<op_state> dropped;
  {
    std::lock_guard guard{mutex_};
    if (root_ == nullptr)
      return;
    dropped = std::exchange(awaited_[&task], ref_ptr<op_state>{op});
    if (op == nullptr)
      awaited_.erase(&task);
  }
  if (op != nullptr)
    wait_graph::call_back(*this);
}

bool hosted_run::task_hangs(const op_state& task, hang_check& check) noexcept {
  // Kept, so that no reference is the last one, and no user code destroyed,
  // where the graph is locked.
  std::lock_guard guard{mutex_};
  auto found = awaited_.find(&task);
  return found != awaited_.end() && !found->second->done()
         && found->second->hangs(check);
}

void hosted_run::help() noexcept {
  std::vector<ref_ptr<op_state>> all;
  {
    std::lock_guard guard{mutex_};
    for (auto& [task, op] : awaited_)
      all.push_back(op);
  }
  for (auto& op : all)
    op->help();
}

bool hosted_run::hangs(hang_check& check) noexcept {
  std::lock_guard guard{mutex_};
  return root_ && !root_->done() && root_->hangs(check);
}

} // namespace troupe
