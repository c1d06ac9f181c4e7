// Asking for one target; see the header.
#include "clients.hpp"

#include "file_reader.hpp"

#include <exception>
#include <stdexcept>
#include <utility>

namespace targets {

namespace {

// Large enough that a system call costs little beside hashing what it brings.
constexpr std::size_t buffer_bytes = 128 * 1024;

} // namespace

clients::clients() : buffer_(buffer_bytes) {}

result clients::ask(target what, const std::stop_token& stop) {
  result answer;
  answer.what = std::move(what);
  auto begin = std::chrono::steady_clock::now();
  try {
    if (!answer.what.problem.empty())
      throw std::runtime_error{answer.what.problem};
    switch (answer.what.what) {
    case kind::http:
      fetch(answer, stop);
      break;
    case kind::file:
      hash(answer, stop);
      break;
    case kind::sqlite:
      query(answer, stop);
      break;
    }
  } catch (const troupe::http_error& error) {
    answer.error = error.cause();
  } catch (const std::exception& error) {
    answer.error = error.what();
  }
  answer.stopped = !answer.ok() && stop.stop_requested();
  if (answer.stopped)
    answer.error = "stopped on the way";
  answer.took = std::chrono::steady_clock::now() - begin;
  return answer;
}

void clients::fetch(result& answer, const std::stop_token& stop) {
  auto got = http_.get(answer.what.text, stop, [](std::string_view) {});
  answer.status = got.status;
  answer.bytes = got.bytes;
  if (got.status >= 400)
    throw std::runtime_error{"the server answered with status "
                             + std::to_string(got.status)};
}

void clients::hash(result& answer, const std::stop_token& stop) {
  file_reader file{answer.what.text};
  hash_.restart();
  std::uint64_t bytes = 0;
  while (auto got = file.read(buffer_)) {
    if (stop.stop_requested())
      throw std::runtime_error{"stopped"};
    hash_.add(buffer_.data(), got);
    bytes += got;
  }
  file.check_unchanged();
  answer.bytes = bytes;
  answer.sha256 = hash_.finish();
}

void clients::query(result& answer, const std::stop_token& stop) {
  auto parts = split_sqlite(answer.what.text);
  answer.rows = sqlite_.count_rows(std::string{parts->file},
                                   std::string{parts->query}, stop);
}

} // namespace targets
