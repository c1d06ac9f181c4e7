#include "troupe/run_if_worker.hpp"

#include <cxxabi.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <string>
#include <string_view>
#include <thread>
#include <tuple>
#include <utility>

#include <fmt/format.h>

#include "troupe/call_page.hpp"
#include "troupe/frame.hpp"
#include "troupe/readable.hpp"
#include "troupe/worker_process.hpp"

namespace troupe {

namespace {

std::atomic<bool> was_called{false};

// Whether this process makes a call.
std::atomic<bool> busy{false};

// How long an idle process may go on after the program that started it: it
// returns from main in this time, and runs its destructors. A busy one has
// nothing to wait for.
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
  if (!busy.load())
    std::this_thread::sleep_for(orphan_grace);
  if (::getpgrp() == ::getpid())
    ::kill(0, SIGKILL);
  ::_exit(1);
}

// The most bytes of what an exception says that travel; a node passes on no
// more, either.
constexpr std::size_t longest_text = 64 * 1024;

// Leaves the beginning of a text that is too long, and says so.
std::string shortened(std::string text) {
  if (text.size() <= longest_text)
    return text;
  auto note = fmt::format("... ({})", exact_bytes(text.size()));
  auto kept = longest_text - note.size();
  // Not half of a character.
  for (int i = 0; i < 3 && (text[kept] & 0xC0) == 0x80; ++i)
    --kept;
  text.resize(kept);
  return text += note;
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
  worker_side(const procedures& known, call_page page)
      : known_{known}, page_{std::move(page)} {}

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
      busy.store(true);
      auto answered = request.kind == frame_kind::calls ? answer_many(request)
                                                        : answer_one(request);
      busy.store(false);
      if (!answered)
        break;
      // The memory of a large request is not kept for small ones.
      request = {};
    }
    return 0;
  }

private:
  struct answer {
    answer_status status = answer_status::value;
    std::string type = {};
    std::string text = {};
    compat::byte_buffer result = {};

    compat::byte_buffer meta() const {
      compat::byte_buffer bytes;
      compat::encode(bytes, static_cast<std::uint8_t>(status), type, text);
      return bytes;
    }
  };

  bool answer_one(const frame& request) {
    std::string name;
    std::string signature;
    answer made{.status = answer_status::bad_message,
                .text = "what came is no call"};
    if (request.kind == frame_kind::call
        && compat::decode(std::as_bytes(std::span{request.meta}), name,
                          signature))
      made = call(find(name, signature), name,
                  std::as_bytes(std::span{request.body}));
    return stream_.send(frame_kind::answer, made.meta(), made.result)
           == frame_status::done;
  }

  bool answer_many(const frame& request) {
    std::string name;
    std::string signature;
    std::uint32_t count = 0;
    std::uint8_t stop_at_failure = 0;
    const procedure_entry* entry = nullptr;
    auto rest = std::as_bytes(std::span{request.body});
    if (compat::decode(std::as_bytes(std::span{request.meta}), name, signature,
                       count, stop_at_failure))
      entry = find(name, signature);
    page_.rewind();
    while (page_.begin_next()) {
      auto made = call(entry, name, take_part(rest));
      auto meta = made.meta();
      auto left = page_.leave(meta, made.result);
      if (!left || (stop_at_failure && made.status != answer_status::value))
        page_.close();
      if (!left)
        return stream_.send(frame_kind::answers, meta, made.result)
               == frame_status::done;
    }
    return stream_.send(frame_kind::answers, {}) == frame_status::done;
  }

  // Takes the arguments of the next call out of a message of many. What is cut
  // off does not decode.
  static std::span<const std::byte>
  take_part(std::span<const std::byte>& rest) {
    std::uint64_t size = 0;
    if (rest.size() < sizeof(size))
      return std::exchange(rest, {});
    std::memcpy(&size, rest.data(), sizeof(size));
    rest = rest.subspan(sizeof(size));
    auto part = rest.first(
        static_cast<std::size_t>(std::min<std::uint64_t>(size, rest.size())));
    rest = rest.subspan(part.size());
    return part;
  }

  // Returns null if the function is not known by this signature.
  const procedure_entry* find(const std::string& name,
                              const std::string& signature) const {
    auto entry = known_.find(name);
    return entry && entry->signature == signature ? entry : nullptr;
  }

  answer call(const procedure_entry* entry, const std::string& name,
              std::span<const std::byte> arguments) const {
    answer made;
    if (entry == nullptr) {
      made.status = answer_status::unknown;
      made.text = known_.why_not(name);
    } else {
      try {
        made.result = entry->invoke(arguments);
      } catch (const failure& why) {
        // What troupe itself refuses is told by its code.
        made.status = why.code() == ec::bad_message ? answer_status::bad_message
                                                    : answer_status::threw;
        made.type = "troupe::failure";
        made.text = why.what();
      } catch (...) {
        made.status = answer_status::threw;
        std::tie(made.type, made.text) = current_exception_text();
      }
      made.type = shortened(std::move(made.type));
      made.text = shortened(std::move(made.text));
    }
    if (made.result.size() > max_message_) {
      made.status = answer_status::too_large;
      auto [has, most] = readable_bytes(made.result.size(), max_message_);
      made.text = fmt::format("{}, more than max_message = {}", has, most);
      made.result = {};
    }
    // What was printed belongs to this request.
    std::fflush(stdout);
    return made;
  }

  const procedures& known_;
  call_page page_;
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
  call_page page{worker_page};
  if (!page.valid()) {
    std::cerr << argv[0] << ": " << argv[1]
              << ": cannot share memory with the pool: " << std::strerror(errno)
              << '\n';
    return 2;
  }
  ::close(worker_page);
  // Lines arrive as they are printed, and are not lost in a crash.
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  // Signals belong to the thread that makes the calls.
  sigset_t all;
  sigset_t before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  std::thread{watch_parent, ::getppid()}.detach();
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
  return worker_side{known, std::move(page)}.run();
}

} // namespace troupe
