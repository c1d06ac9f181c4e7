// Reading here, packing there, checking here; see the header.
#include "run.hpp"

#include "pack.hpp"

#include "targets/file_reader.hpp"
#include "targets/folder_walk.hpp"

#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace cluster {

namespace {

// More than are being packed, so that a node that is done finds the next one
// read, and few, since each of them is in memory.
constexpr std::size_t read_ahead = 2;

std::string read_all(const std::string& path) {
  targets::file_reader file{path};
  std::string result;
  std::vector<char> buffer(256 * 1024);
  while (auto size = file.read(buffer))
    result.append(buffer.data(), size);
  file.check_unchanged();
  return result;
}

bool is_folder(const std::string& path) {
  struct stat found {};
  return stat(path.c_str(), &found) == 0 && S_ISDIR(found.st_mode);
}

// A path inside a folder of ours, whatever `path` is.
std::string place_of(const std::string& path) {
  std::string result;
  std::size_t begin = 0;
  while (begin < path.size()) {
    auto end = std::min(path.find('/', begin), path.size());
    auto name = path.substr(begin, end - begin);
    if (!name.empty() && name != "." && name != "..")
      result += (result.empty() ? "" : "/") + name;
    begin = end + 1;
  }
  return result;
}

} // namespace

std::vector<input> find_inputs(const std::vector<std::string>& words) {
  std::vector<input> result;
  for (const auto& word : words) {
    if (!is_folder(word)) {
      result.push_back({word, place_of(word), {}});
      continue;
    }
    targets::folder_walk walk{word, false};
    while (auto found = walk.next())
      result.push_back({found->text, place_of(found->text), found->problem});
  }
  return result;
}

run::run(troupe::node_pool& pool, local_nodes& own, settings how)
    : pool_{pool}, own_{own}, how_{std::move(how)} {
  char machine[256] = {};
  gethostname(machine, sizeof(machine) - 1);
  for (const auto& x : own_.all())
    names_[fmt::format("{}:{}", machine, x.process)] = x.name;
}

parts::progress run::look() const {
  auto total = total_.load();
  parts::progress result{.done = done_, .failed = failed_, .part = {}};
  if (total > 0)
    result.part = static_cast<double>(result.done) / static_cast<double>(total);
  return result;
}

ending run::execute(const std::vector<input>& files) {
  auto begin = std::chrono::steady_clock::now();
  ending all;
  all.files = files.size();
  total_ = files.size();
  // On a worker that stands for a process over there, so it may block.
  auto job = [into = how_.into](troupe::context& here, const input& what) {
    if (!what.problem.empty())
      throw std::runtime_error{what.problem};
    auto bytes = read_all(what.path);
    auto [gzip, by] = pack(here, bytes);
    if (unpack(gzip) != bytes)
      throw std::runtime_error{"what came back is not what was sent"};
    if (into) {
      parts::part file{*into};
      file.write(gzip);
      file.keep_as(what.place + ".gz");
    }
    return packed_file{bytes.size(), gzip.size(), std::move(by)};
  };
  auto in_flight =
      read_ahead * std::max<std::size_t>(pool_.options().workers, 16);
  auto results = pool_.imap(files, job, in_flight).stop_with(how_.stop);
  // In the order of the files, so that failures can be told by their names.
  for (const auto& file : files) {
    if (how_.kills && all.killed.empty() && 2 * done_ >= files.size())
      kill_one(all);
    try {
      auto one = results.next().get();
      if (!one)
        break;
      note(all, *one);
    } catch (const std::exception& why) {
      if (how_.stop.stop_requested())
        break;
      ++failed_;
      how_.on_failure(file.path, why.what());
    }
    ++done_;
  }
  all.failed = failed_;
  all.never_started = files.size() - done_;
  all.moved = pool_.nodes().moved;
  all.elapsed = std::chrono::steady_clock::now() - begin;
  return all;
}

void run::note(ending& all, const packed_file& one) {
  all.bytes += one.bytes;
  all.packed_bytes += one.packed_bytes;
  auto known = names_.find(one.by);
  auto& whose = all.by_node[known == names_.end() ? one.by : known->second];
  whose.bytes += one.bytes;
  ++whose.files;
  if (!all.killed.empty())
    ++whose.files_after;
}

void run::kill_one(ending& all) {
  // The one that was started second; any would do.
  own_.kill(1);
  all.killed = own_.all()[1].name;
  all.killed_after = done_;
}

} // namespace cluster
