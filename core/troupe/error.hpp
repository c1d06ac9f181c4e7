// How things fail: the codes, the exception that carries one, and the record
// that a failed request leaves behind. Each code is named from the caller's
// side and says whether the call ran.

#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>

#include <caf/fwd.hpp>

#include "troupe/ref_counted.hpp"

namespace troupe {

/// Says why an operation has no value. The first value is 1, since 0 tests as
/// "no error".
enum class ec : std::uint8_t {
  /// The call ran and threw an exception; or another actor answered with an
  /// error.
  request_failed = 1,
  /// Somebody asked to stop before the call was started. It never ran; of a
  /// `map`, some calls did not. Of a task or a wait, `failure::started()` says
  /// whether it had begun.
  cancelled,
  /// The deadline passed. `failure::started()` says whether the call ran.
  deadline_exceeded,
  /// The queue had no room and the pool was told to reject. It never ran.
  queue_full,
  /// The pool had stopped before a worker took the request. It never ran; of a
  /// `map`, some calls did not.
  pool_stopped,
  /// The worker ended before it could answer. The call may have run.
  worker_lost,
  /// Waiting would have waited for itself. The call never ran.
  would_deadlock,
  /// An option, a size or a batch is not accepted. Nothing was started.
  invalid_option,
  /// The operation was consumed, or has started, before. Nothing ran a second
  /// time.
  already_consumed,
  /// The actor in which a task or a wait lived has ended. What it had started
  /// may have run.
  owner_gone,
  /// No worker of the pool could be started, or open its resource: the call
  /// never ran; of a `map`, some calls did not. Or the pool has no resource of
  /// the type that the call asked for: it ran up to there, as
  /// `failure::started()` says. Or the system refuses a thread that a pool or
  /// an actor needs; then nothing was started.
  resource_unavailable,
  /// The node was lost. The call may have run.
  node_lost,
  /// The other side knows no procedure of that name. It never ran.
  unknown_procedure,
  /// The channel was closed, or the barrier broken, before the wait was over.
  /// The item was not taken; nobody passed.
  closed,
  /// Every worker of the pool is stuck in a call that does not return, and its
  /// spares are used up. It never ran.
  pool_stuck,
  /// Arguments or result of a procedure are larger than what the pool passes
  /// on. With such arguments it never ran; with such a result it did.
  too_large,
  /// What came from the other process is not what was agreed on: bytes that
  /// don't decode, or an answer to nothing. The call may have run.
  bad_message,
};

/// Returns the name of `code`, such as "queue_full".
std::string_view to_string(ec code) noexcept;

/// What `get()` and `co_await` throw where the request has no exception of its
/// own. `what()` names operation, operand and cause.
class failure : public std::runtime_error {
public:
  explicit failure(ec code, const std::string& text, bool started = false,
                   std::string label = {}, int worker = 0);

  ec code() const noexcept;

  /// Returns whether the call was started. If so, its effects may have
  /// happened.
  bool started() const noexcept;

  /// Returns the label of the request, or an empty string.
  const std::string& label() const noexcept;

  /// Returns the number of the worker that took the request, or 0.
  int worker() const noexcept;

  /// Returns the same as a CAF error, as `then` hands it to actors.
  caf::error to_error() const;

private:
  struct details;
  // Shared, since copying an exception must not throw.
  std::shared_ptr<const details> details_;
};

/// What a failed request leaves behind, shared by all who want to know.
struct failure_record final : ref_counted {
  ec code = ec::request_failed;
  /// The request's own exception; null if it has none.
  std::exception_ptr exception;
  std::string text;
  bool started = false;
  std::string label;
  int worker = 0;
  /// How many times the call ran.
  unsigned attempts = 0;
};

using failure_ptr = ref_ptr<const failure_record>;

/// Records a failure without an exception.
failure_ptr make_failure(ec code, std::string text, bool started = false,
                         std::string label = {}, int worker = 0);

/// Records an exception, whatever its type. One that is a `failure` keeps its
/// code. `worker_name` is how the text names the worker, such as "io-3";
/// `tags` is appended to the text.
failure_ptr make_failure(std::exception_ptr exception, std::string label,
                         int worker, std::string_view worker_name,
                         unsigned attempts = 1, std::string_view tags = {});

/// Throws what `record` holds: the request's own exception if it has one, else
/// a `failure`.
[[noreturn]] void rethrow(const failure_record& record);

/// Returns type and message of an exception, of those nested in it too, such as
/// "std::runtime_error: disk on fire".
std::string describe(const std::exception_ptr& exception);

/// Returns code and text of an error in one line, for any CAF version.
std::string describe(const caf::error& error);

/// Returns `record` as a CAF error whose text carries type, message, label and
/// worker.
caf::error to_error(const failure_ptr& record);

/// Returns the original exception inside an error made by troupe; null if the
/// error has none.
std::exception_ptr exception_of(const caf::error& error);

/// Returns the record inside an error made by troupe, or one made from the
/// error's text.
failure_ptr failure_of(const caf::error& error);

} // namespace troupe
