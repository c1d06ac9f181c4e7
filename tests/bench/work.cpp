// The calls of work.hpp that touch the outside world: files, sockets, a gate.
// They use nothing but system calls, so that what is measured is the
// contestant.

#include "work.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <stdexcept>
#include <string_view>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

namespace bench {

namespace {

// -- checksums ----------------------------------------------------------------

using crc_tables = std::array<std::array<std::uint32_t, 256>, 8>;

/// Eight tables, so that a step takes eight bytes: the checksum must not be
/// what the row measures.
constexpr crc_tables make_crc_tables() {
  crc_tables tables{};
  for (std::uint32_t i = 0; i < 256; ++i) {
    auto value = i;
    for (int bit = 0; bit < 8; ++bit)
      value = (value >> 1) ^ (value & 1 ? 0xedb88320u : 0u);
    tables[0][i] = value;
  }
  for (std::size_t t = 1; t < 8; ++t)
    for (std::size_t i = 0; i < 256; ++i) {
      auto before = tables[t - 1][i];
      tables[t][i] = (before >> 8) ^ tables[0][before & 0xff];
    }
  return tables;
}

constexpr crc_tables crc = make_crc_tables();

class checksum {
public:
  void add(const unsigned char* data, std::size_t size) noexcept {
    auto value = value_;
    for (; size >= 8; data += 8, size -= 8) {
      value = crc[7][(value ^ data[0]) & 0xff]
              ^ crc[6][((value >> 8) ^ data[1]) & 0xff]
              ^ crc[5][((value >> 16) ^ data[2]) & 0xff]
              ^ crc[4][(value >> 24) ^ data[3]] ^ crc[3][data[4]]
              ^ crc[2][data[5]] ^ crc[1][data[6]] ^ crc[0][data[7]];
    }
    for (; size > 0; ++data, --size)
      value = (value >> 8) ^ crc[0][(value ^ *data) & 0xff];
    value_ = value;
  }

  [[nodiscard]] std::uint32_t value() const noexcept { return ~value_; }

private:
  std::uint32_t value_ = 0xffffffff;
};

constexpr std::uint64_t unreadable = ~std::uint64_t{0};

// -- a blocking HTTP client ---------------------------------------------------

constexpr std::size_t page_size = 1024;

/// The connection of one thread. Reconnects after any error.
class connection {
public:
  connection() = default;
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;

  ~connection() { drop(); }

  /// Returns the body of the answer; valid until the next call; empty on error.
  std::string_view get(std::uint16_t port, std::uint64_t x) {
    if (!connected_to(port))
      return {};
    auto body = exchange(x);
    if (body.empty())
      drop();
    return body;
  }

private:
  bool connected_to(std::uint16_t port) {
    if (fd_ >= 0 && port_ == port)
      return true;
    drop();
    fd_ = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int on = 1;
    setsockopt(fd_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof(to)) != 0)
      drop();
    port_ = port;
    return fd_ >= 0;
  }

  std::string_view exchange(std::uint64_t x) {
    auto end = fmt::format_to_n(buffer_.data(), buffer_.size(),
                                "GET /item/{} HTTP/1.1\r\n"
                                "Host: localhost\r\n\r\n",
                                x);
    auto length = static_cast<std::size_t>(end.out - buffer_.data());
    if (send(fd_, buffer_.data(), length, MSG_NOSIGNAL)
        != static_cast<ssize_t>(length))
      return {};
    for (std::size_t size = 0; size < buffer_.size();) {
      auto got = recv(fd_, buffer_.data() + size, buffer_.size() - size, 0);
      if (got <= 0)
        return {};
      size += static_cast<std::size_t>(got);
      std::string_view answer{buffer_.data(), size};
      auto head = answer.find("\r\n\r\n");
      if (head != std::string_view::npos && size - head - 4 >= page_size)
        return answer.starts_with("HTTP/1.1 200 ") ? answer.substr(head + 4)
                                                   : std::string_view{};
    }
    return {};
  }

  void drop() {
    if (fd_ >= 0)
      close(fd_);
    fd_ = -1;
  }

  int fd_ = -1;
  std::uint16_t port_ = 0;
  std::array<char, 4096> buffer_{};
};

std::atomic<int> gate_is_open{0};

} // namespace

// -- files --------------------------------------------------------------------

file_set::file_set(std::size_t count) {
  auto pattern =
      (std::filesystem::temp_directory_path() / "offload_bench-XXXXXX")
          .string();
  if (!mkdtemp(pattern.data()))
    throw std::runtime_error{fmt::format(
        "cannot make a folder {}: {}; set TMPDIR to one that can be "
        "written",
        pattern, std::strerror(errno))};
  folder_ = pattern;
  // A fixed seed: every run of the benchmark reads the same bytes.
  std::mt19937_64 random{20240229};
  std::vector<unsigned char> content;
  std::ofstream manifest{folder_ + "/manifest"};
  for (std::size_t i = 0; i < count; ++i) {
    auto inner = fmt::format("{}/{:03}", folder_, i / 200);
    if (i % 200 == 0)
      std::filesystem::create_directory(inner);
    content.resize(512 + random() % 7680);
    for (auto& byte : content)
      byte = static_cast<unsigned char>(random());
    checksum sum;
    sum.add(content.data(), content.size());
    auto path = fmt::format("{}/{:05}", inner, i);
    std::ofstream file{path, std::ios::binary};
    file.write(reinterpret_cast<const char*>(content.data()),
               static_cast<std::streamsize>(content.size()));
    manifest << path << ' ' << sum.value() << '\n';
    if (!file.flush() || !manifest)
      throw std::runtime_error{fmt::format("cannot write {}", path)};
    paths.push_back(std::move(path));
    checksums.push_back(sum.value());
  }
}

file_set::~file_set() {
  std::error_code ignored;
  std::filesystem::remove_all(folder_, ignored);
}

std::uint64_t read_file::operator()(std::uint64_t x) const {
  auto fd = open(files->paths[x].c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return unreadable;
  checksum sum;
  std::array<unsigned char, 16384> buffer;
  ssize_t got = 0;
  while ((got = read(fd, buffer.data(), buffer.size())) > 0)
    sum.add(buffer.data(), static_cast<std::size_t>(got));
  close(fd);
  return got < 0 ? unreadable : sum.value();
}

// -- http and gate ------------------------------------------------------------

std::uint64_t http_get::operator()(std::uint64_t x) const {
  thread_local connection mine;
  auto body = mine.get(port, x);
  auto wrong = page_number(x) + 1;
  if (body.size() != page_size)
    return wrong;
  for (std::size_t at = 16; at < page_size; at += 16)
    if (body.substr(at, 16) != body.substr(0, 16))
      return wrong;
  return std::strtoull(std::string{body.substr(0, 16)}.c_str(), nullptr, 16);
}

void gated::open() {
  gate_is_open = 1;
  gate_is_open.notify_all();
}

std::uint64_t gated::operator()(std::uint64_t x) const {
  gate_is_open.wait(0);
  return x + 1;
}

std::uint64_t expected(const work& what, std::uint64_t x) {
  if (const auto* file = std::get_if<read_file>(&what))
    return file->files->checksums[x];
  if (std::holds_alternative<http_get>(what))
    return page_number(x);
  return x + 1;
}

void check_results(
    const std::vector<std::uint64_t>& results, std::size_t count,
    const std::function<std::uint64_t(std::uint64_t)>& expected) {
  if (results.size() != count)
    throw std::runtime_error{
        fmt::format("{} results for {} requests", results.size(), count)};
  for (std::size_t i = 0; i < count; ++i)
    if (results[i] != expected(i))
      throw std::runtime_error{
          fmt::format("result {} is {}, not {}", i, results[i], expected(i))};
}

} // namespace bench
