// A batch as it crosses a mailbox, and the typed handle that its maker keeps.

#pragma once

#include <type_traits>
#include <utility>

#include "troupe/batch.hpp"

namespace troupe {

/// Refers to a batch, or to nothing. Copies refer to the same one. Local to its
/// process: sent to another node it arrives as nothing.
class batch_ref {
public:
  batch_ref() = default;

  explicit batch_ref(ref_ptr<batch> target) : target_{std::move(target)} {}

  batch* get() const noexcept { return target_.get(); }

  explicit operator bool() const noexcept { return static_cast<bool>(target_); }

private:
  ref_ptr<batch> target_;
};

/// Takes the result of a state that is done: moves it out, or throws why there
/// is none.
template <class T>
T take_result(op_state& state) {
  if (const auto& why = state.failed())
    rethrow(*why);
  if constexpr (!std::is_void_v<T>)
    return std::move(*static_cast<T*>(state.result()));
}

/// A batch whose result has type `T`, for those who submit it by message.
template <class T>
class typed_batch {
public:
  explicit typed_batch(ref_ptr<batch> target) : target_{std::move(target)} {}

  /// Sets the label that failures and completions carry. Before the submit.
  typed_batch& label(std::string text) {
    target_->set_label(std::move(text));
    return *this;
  }

  /// Returns what to put into the `submit_atom` message.
  batch_ref ref() const { return batch_ref{target_}; }

  /// Moves the result out, once. Throws the failure if there is one.
  /// @pre the batch is complete: its `completion` has arrived
  T result() { return take_result<T>(*target_); }

private:
  ref_ptr<batch> target_;
};

} // namespace troupe
