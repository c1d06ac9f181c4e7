// A worker's hold on its process: starts it, makes calls in it, replaces it
// when it is lost, and ends it when a call must really stop. The worker keeps
// one as its resource, so process and worker begin and end together.

#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "troupe/frame.hpp"
#include "troupe/loss_book.hpp"
#include "troupe/procedure.hpp"
#include "troupe/process_keeper.hpp"

namespace troupe {

/// What the links of one pool need to know.
struct link_settings {
  process_plan plan;
  std::chrono::nanoseconds max_run_time;
  std::uint64_t max_requests;
  std::uint64_t max_message;
  std::chrono::nanoseconds kill_grace;
  std::chrono::nanoseconds start_timeout;
  unsigned max_lost;
};

/// What the links of one pool share: its settings, its keeper, what they count,
/// and which requests have ended processes.
class process_room : public loss_book {
public:
  process_room(link_settings how,
               std::function<void(const process_line&)> on_line)
      : loss_book{how.max_lost, "worker process", "worker processes"},
        settings{std::move(how)},
        keeper{std::move(on_line)} {}

  const link_settings settings;

  std::atomic<std::uint64_t> started{0};
  std::atomic<std::uint64_t> lost{0};
  std::atomic<std::uint64_t> ended{0};
  std::atomic<std::uint64_t> recycled{0};

  // The last member, so that its thread ends first.
  process_keeper keeper;
};

class process_link : public std::enable_shared_from_this<process_link> {
public:
  /// `room` must outlive the link: the pool has it, and workers, which own
  /// links, end before their pool does.
  process_link(process_room& room, std::string worker);

  process_link(const process_link&) = delete;
  process_link& operator=(const process_link&) = delete;

  /// Starts a process, without waiting until it takes calls. What goes wrong is
  /// told to the next call.
  void prepare() noexcept;

  /// Makes a call in the process and blocks until it has returned.
  ///
  /// Errors: throws `remote_failure` if the function threw, else `failure`.
  compat::byte_buffer call(context& ctx, const procedure_info& what,
                           const compat::byte_buffer& arguments);

  /// Makes calls of the chunk in the process, from the first one on: in one
  /// message there and one back. Returns how many have their outcome; the
  /// others have not begun.
  ///
  /// Errors: throws `failure` if no process takes calls; then none has begun.
  std::size_t call_many(context& ctx, const procedure_info& what,
                        call_chunk& chunk);

  /// Lets the process go. The worker ends.
  void close() noexcept;

private:
  enum class stop_why : std::uint8_t { not_at_all, cancelled, overran, over };

  // What ends the wait of one call. A timer may hold on to it when the call is
  // over, and must then not write to what the next call waits for.
  struct stopper {
    explicit stopper(std::shared_ptr<unique_fd> to_write)
        : event{std::move(to_write)} {}

    void stop(stop_why reason) noexcept;

    /// The call has returned. Takes back what `stop` wrote.
    void finish() noexcept;

    bool stopped() const noexcept { return why.load() != stop_why::not_at_all; }

    std::shared_ptr<unique_fd> event;
    std::atomic<stop_why> why{stop_why::not_at_all};
  };

  class call_scope;
  class message;

  // Thrown when the process ended while it ran the call.
  struct lost_process {
    std::string text;
    std::string why;
  };

  std::shared_ptr<worker_process> start();
  void process_ended(const worker_process& which) noexcept;
  std::shared_ptr<worker_process>
  ensure_ready(context& ctx, const procedure_info& what, const stopper& stop);
  bool await_ready(context& ctx, const procedure_info& what,
                   worker_process& process, const stopper& stop,
                   bool last_attempt);
  void drop_failed_start(worker_process& process,
                         std::atomic<std::uint64_t>& counts_as) noexcept;
  void wait_out_backoff(context& ctx, const procedure_info& what,
                        const stopper& stop);
  using request_key = process_room::request_key;

  void refuse(const procedure_info& what, const compat::byte_buffer& arguments,
              request_key& key) const;
  compat::byte_buffer call_up_to_twice(context& ctx, const procedure_info& what,
                                       const compat::byte_buffer& arguments,
                                       const std::shared_ptr<stopper>& stop,
                                       request_key key, unsigned attempt);
  compat::byte_buffer call_once(context& ctx, const procedure_info& what,
                                const compat::byte_buffer& arguments,
                                const std::shared_ptr<stopper>& stop);
  std::exception_ptr note_lost(const procedure_info& what,
                               const compat::byte_buffer& arguments,
                               const lost_process& lost, request_key& key,
                               unsigned attempt, const stopper& stop);
  void count_answers(const std::shared_ptr<worker_process>& process,
                     std::uint64_t answers);
  frame_stream stream(const worker_process& process) const noexcept;
  compat::byte_buffer read_answer(const procedure_info& what,
                                  const worker_process& process,
                                  std::span<const std::byte> meta,
                                  compat::byte_buffer body) const;
  [[noreturn]] void throw_lost(const procedure_info& what,
                               worker_process& process);
  [[noreturn]] void throw_stopped(context& ctx, const procedure_info& what,
                                  worker_process* process, const stopper& stop,
                                  bool called);
  [[noreturn]] void throw_misbehaved(const procedure_info& what,
                                     worker_process& process,
                                     const std::string& how, bool called);
  [[noreturn]] void throw_not_ready(const procedure_info& what,
                                    worker_process& process,
                                    std::atomic<std::uint64_t>& counts_as,
                                    const std::string& how);
  std::string place(const worker_process& process) const;
  void note_failed_start() noexcept;
  void end(worker_process& process) noexcept;

  process_room& room_;
  const std::string worker_;
  // Written to in order to end a wait.
  const std::shared_ptr<unique_fd> event_;
  // The arguments of calls that travel together. Kept, for the next ones.
  compat::byte_buffer outgoing_;

  mutable std::mutex mutex_;
  std::shared_ptr<worker_process> process_;
  // Whether the worker is in a call, and looks after the process itself.
  bool busy_ = false;
  bool closed_ = false;
  // How many processes in a row ended before they were of any use, and until
  // when no other one is started.
  unsigned failed_starts_ = 0;
  std::chrono::steady_clock::time_point not_before_{};
};

} // namespace troupe
