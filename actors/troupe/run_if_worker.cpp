#include "troupe/run_if_worker.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>

#include <fmt/format.h>

#include "troupe/frame.hpp"
#include "troupe/worker_process.hpp"

namespace troupe {

namespace {

std::atomic<bool> was_called{false};

// How long a process may go on after the program that started it. An idle one
// returns from main in this time, and runs its destructors.
constexpr auto orphan_grace = std::chrono::milliseconds{20};

bool is_socket(int fd) {
  int domain = 0;
  socklen_t size = sizeof(domain);
  return ::getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &size) == 0
         && domain == AF_UNIX;
}

// Ends this process, and what it has started, soon after its parent, however
// that ends and whatever a call does here. A thread, since the kernel's own
// signal for this (PR_SET_PDEATHSIG) comes when the thread ends that started
// the process, and that one is a worker, which may retire.
void watch_parent(pid_t parent) {
  auto end = open_end_signal(parent);
  // Until then the number may have gone to somebody else; but then this process
  // has a new parent.
  if (end >= 0 && ::getppid() == parent) {
    pollfd gone{end, POLLIN, 0};
    while (::poll(&gone, 1, -1) < 0 && errno == EINTR) {
    }
  }
  std::this_thread::sleep_for(orphan_grace);
  if (::getpgrp() == ::getpid())
    ::kill(0, SIGKILL);
  ::_exit(1);
}

// Type and message of the exception that is being handled.
std::pair<std::string, std::string> current_exception_text() {
  const auto* type = abi::__cxa_current_exception_type();
  std::pair<std::string, std::string> result{
      type ? type_text(*type) : std::string{"unknown exception"}, {}};
  auto whole = describe(std::current_exception());
  // What `describe` puts before the message is the type.
  if (auto colon = whole.find(": "); colon != whole.npos)
    result = {whole.substr(0, colon), whole.substr(colon + 2)};
  return result;
}

class worker_side {
public:
  explicit worker_side(const procedures& known) : known_{known} {}

  int run() {
    frame greeting;
    std::uint32_t theirs = 0;
    if (stream_.receive(greeting, compat::forever) != frame_status::done)
      return 0;
    if (greeting.kind != frame_kind::greeting
        || !compat::decode(std::as_bytes(std::span{greeting.meta}), theirs,
                           max_message_)
        || theirs != frame_version) {
      // The pool learns our version from the answer.
      std::cerr << "troupe: the program that started this worker process "
                   "speaks another version; build both with the same troupe\n";
    }
    compat::byte_buffer meta;
    compat::encode(meta, frame_version);
    if (stream_.send(frame_kind::ready, meta) != frame_status::done)
      return 0;
    frame request;
    while (stream_.receive(request, compat::forever) == frame_status::done) {
      if (!answer(request))
        break;
      // The memory of a large request is not kept for small ones.
      request = {};
    }
    return 0;
  }

private:
  bool answer(const frame& request) {
    compat::byte_buffer result;
    auto status = answer_status::value;
    std::string type;
    std::string text;
    std::string name;
    std::string signature;
    if (request.kind != frame_kind::call
        || !compat::decode(std::as_bytes(std::span{request.meta}), name,
                           signature)) {
      status = answer_status::bad_message;
      text = "what came is no call";
    } else if (auto entry = known_.find(name);
               entry == nullptr || entry->signature != signature) {
      status = answer_status::unknown;
      text = known_.why_not(name);
    } else {
      try {
        result = entry->invoke(std::as_bytes(std::span{request.body}));
      } catch (const failure& why) {
        // What troupe itself refuses is told by its code.
        status = why.code() == ec::bad_message ? answer_status::bad_message
                                               : answer_status::threw;
        type = "troupe::failure";
        text = why.what();
      } catch (...) {
        status = answer_status::threw;
        std::tie(type, text) = current_exception_text();
      }
    }
    if (result.size() > max_message_) {
      status = answer_status::too_large;
      text = fmt::format("{} bytes", result.size());
      result = {};
    }
    // What was printed belongs to this request.
    std::fflush(stdout);
    compat::byte_buffer meta;
    compat::encode(meta, static_cast<std::uint8_t>(status), type, text);
    return stream_.send(frame_kind::answer, meta, result) == frame_status::done;
  }

  const procedures& known_;
  std::uint64_t max_message_ = 0;
  // What the pool sends has been measured there.
  frame_stream stream_{worker_socket, -1, ~std::uint64_t{0}};
};

} // namespace

bool run_if_worker_was_called() noexcept {
  return was_called.load();
}

std::optional<int> run_if_worker(int argc, char** argv,
                                 const procedures& known) {
  was_called.store(true);
  if (argc < 2 || !std::string_view{argv[1]}.starts_with(worker_argument))
    return {};
  if (!is_socket(worker_socket)) {
    std::cerr << argv[0] << ": " << argv[1]
              << ": only a troupe::process_pool starts worker processes\n";
    return 2;
  }
  // What a procedure starts must not hold the pool's socket.
  ::fcntl(worker_socket, F_SETFD, FD_CLOEXEC);
  // Lines arrive as they are printed, and are not lost in a crash.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  // Signals belong to the thread that makes the calls.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread{watch_parent, ::getppid()}.detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return worker_side{known}.run();
}

} // namespace troupe
