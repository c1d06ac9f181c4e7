// Reads options, adds up the places where they were set, and words the errors.
// One table of keys drives all of it, so that what is accepted, what is checked
// and what is explained cannot drift apart.

#include "troupe/options.hpp"

#include "troupe/error.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <numeric>
#include <tuple>
#include <utility>

namespace troupe {

namespace {

using std::chrono::nanoseconds;

// -- the keys -----------------------------------------------------------------

constexpr std::array<option_info, 12> infos{{
    {"workers", option_kind::count,
     "most workers a pool may have; auto: it finds out", "min(32, cores + 4)",
     "auto"},
    {"min-workers", option_kind::count, "workers kept when idle", "0"},
    {"workers-limit", option_kind::count,
     "most workers that a pool gives itself with workers = auto",
     "16 a core, from 64 to 512"},
    {"idle-timeout", option_kind::duration,
     "an idle worker above the minimum ends after this", "10s"},
    {"max-queued", option_kind::count,
     "submissions admitted and not yet started", "1000000"},
    {"on-full", option_kind::word,
     "what becomes of a submission when the queue is full", "wait",
     "wait|reject"},
    {"spin", option_kind::duration,
     "how long an idle worker looks for work before it sleeps", "0s"},
    {"drain-timeout", option_kind::duration,
     "how long shutdown waits for running requests", "30s"},
    {"max-run-time", option_kind::duration,
     "a request that runs longer makes its worker stuck; 0: never", "0s"},
    {"max-spares", option_kind::count,
     "workers beyond 'workers' that stand in for stuck ones", "2"},
    {"on-stuck", option_kind::word,
     "what the end of the system does about requests that never return", "wait",
     "wait|quick-exit"},
    {"stack-size", option_kind::count,
     "bytes of stack that a worker has at the least; 0: as the system has it",
     "0"},
}};

constexpr std::string_view automatic_word = "auto";

constexpr std::string_view room = "troupe.";
constexpr std::string_view pools = "troupe.pools.";

const option_info* find_bare(std::string_view bare) noexcept {
  auto has_key = [bare](const option_info& info) { return info.key == bare; };
  const auto* found = std::find_if(infos.begin(), infos.end(), has_key);
  return found == infos.end() ? nullptr : found;
}

const option_info& info_of(std::string_view bare) noexcept {
  return *find_bare(bare);
}

/// The parts of "troupe.KEY" (no pool) and of "troupe.pools.POOL.KEY".
struct key_parts {
  std::string_view pool;
  std::string_view bare;
};

std::optional<key_parts> split(std::string_view key) {
  if (key.starts_with(pools)) {
    key.remove_prefix(pools.size());
    // A pool's name may have dots, a key has none.
    auto dot = key.rfind('.');
    if (dot == key.npos || dot == 0)
      return {};
    return key_parts{key.substr(0, dot), key.substr(dot + 1)};
  }
  if (key.starts_with(room)) {
    key.remove_prefix(room.size());
    if (key.find('.') == key.npos)
      return key_parts{{}, key};
  }
  return {};
}

std::string pool_key(std::string_view pool, std::string_view bare) {
  std::string result{pools};
  result += pool;
  result += '.';
  result += bare;
  return result;
}

std::string general_key(std::string_view bare) {
  return std::string{room} += bare;
}

/// Members of `pool_options` are spelled with underscores.
std::string code_key(std::string_view bare) {
  std::string result{"pool_options."};
  result += bare;
  std::replace(result.begin(), result.end(), '-', '_');
  return result;
}

// -- bounds and what errors say about them ------------------------------------

struct count_bounds {
  std::size_t least;
  std::size_t most;
};

count_bounds bounds_of(const option_info& info) noexcept {
  if (info.key == "max-queued")
    return {1, defaults::max_queued_limit};
  if (info.key == "min-workers")
    return {0, defaults::workers_limit};
  if (info.key == "max-spares")
    return {0, defaults::workers_limit};
  if (info.key == "stack-size")
    return {0, defaults::stack_size_limit};
  return {1, defaults::workers_limit};
}

std::string accepted_count(std::size_t least, std::size_t most) {
  return "a whole number from " + std::to_string(least) + " to "
         + std::to_string(most);
}

std::string accepted_workers() {
  return accepted_count(1, defaults::workers_limit) + ", or auto";
}

std::string accepted_duration() {
  return "a duration from 0 to " + to_text(defaults::duration_limit)
         + ", such as 500ms or 1.5s; units: ns, us, ms, s, min, h";
}

std::string accepted_keys() {
  std::string result;
  for (const auto& info : infos) {
    if (!result.empty())
      result += ", ";
    result += info.key;
  }
  return result;
}

std::string accepted_words(const option_info& info) {
  std::string result{info.words};
  for (auto at = result.find('|'); at != result.npos; at = result.find('|'))
    result.replace(at, 1, " or ");
  return result;
}

std::string accepted_by(const option_info& info) {
  switch (info.kind) {
  case option_kind::count: {
    if (!info.words.empty())
      return accepted_workers();
    auto [least, most] = bounds_of(info);
    return accepted_count(least, most);
  }
  case option_kind::duration:
    return accepted_duration();
  default:
    return accepted_words(info);
  }
}

[[noreturn]] void refuse(const std::string& text) {
  throw failure{ec::invalid_option, text};
}

[[noreturn]] void refuse(std::string_view key, std::string_view text,
                         std::string_view cause, std::string_view accepted) {
  std::string line{key};
  line += " = ";
  line += in_quotes(text);
  line += ": ";
  line += cause;
  line += " (accepted: ";
  line += accepted;
  line += ')';
  refuse(line);
}

// -- suggestions --------------------------------------------------------------

/// Counts the letters to add, drop, change or swap with a neighbour that turn
/// `a` into `b`.
std::size_t edit_distance(std::string_view a, std::string_view b) {
  auto width = b.size() + 1;
  std::vector<std::size_t> older(width), old(width), row(width);
  std::iota(old.begin(), old.end(), std::size_t{0});
  for (std::size_t i = 1; i <= a.size(); ++i) {
    row[0] = i;
    for (std::size_t j = 1; j <= b.size(); ++j) {
      auto change = old[j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1);
      row[j] = std::min({old[j] + 1, row[j - 1] + 1, change});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], older[j - 2] + 1);
    }
    older.swap(old);
    old.swap(row);
  }
  return old[b.size()];
}

std::optional<std::string> suggest(std::string_view key) {
  auto dot = key.rfind('.');
  if (dot == key.npos || !key.starts_with(room))
    return {};
  std::vector<std::string> keys;
  for (const auto& info : infos)
    keys.emplace_back(info.key);
  auto bare = closest_match(key.substr(dot + 1), keys);
  if (!bare)
    return {};
  if (dot + 1 == room.size())
    return general_key(*bare);
  // What stands between "troupe." and the key should be "pools." and a name;
  // either of the two, or the dot between them, may have gone wrong.
  auto middle = key.substr(room.size(), dot - room.size());
  auto separator = middle.find('.');
  auto first = middle.substr(0, separator);
  auto pools_word = std::vector<std::string>{"pools"};
  auto has_pools = closest_match(first, pools_word).has_value();
  if (separator == middle.npos)
    return pool_key(has_pools ? "NAME" : first, *bare);
  auto name = middle.substr(separator + 1);
  if (has_pools)
    return pool_key(name.empty() ? "NAME" : name, *bare);
  return {};
}

// -- adding up ----------------------------------------------------------------

std::string text_of(std::size_t value) {
  return value == automatic ? "auto" : std::to_string(value);
}

std::string text_of(nanoseconds value) {
  return to_text(value);
}

std::string text_of(on_full value) {
  if (value == on_full::wait || value == on_full::reject)
    return std::string{to_string(value)};
  return std::to_string(static_cast<int>(value));
}

std::string text_of(on_stuck value) {
  if (value == on_stuck::wait || value == on_stuck::quick_exit)
    return std::string{to_string(value)};
  return std::to_string(static_cast<int>(value));
}

void parse(std::string_view key, const option_info& info, std::string_view text,
           std::size_t& result) {
  if (info.words == automatic_word) {
    result = parse_workers(key, text);
    return;
  }
  auto [least, most] = bounds_of(info);
  result = parse_count(key, text, least, most);
}

void parse(std::string_view key, const option_info&, std::string_view text,
           nanoseconds& result) {
  result = parse_duration(key, text);
}

void parse(std::string_view key, const option_info&, std::string_view text,
           on_full& result) {
  result = parse_on_full(key, text);
}

void parse(std::string_view key, const option_info&, std::string_view text,
           on_stuck& result) {
  result = parse_on_stuck(key, text);
}

/// Picks the value of one option from the place that comes first.
class picker {
public:
  picker(std::string_view pool, const option_table& table,
         std::vector<explained_option>* explained)
      : pool_{pool}, table_{table}, explained_{explained} {}

  template <class T>
  void operator()(std::string_view bare, const std::optional<T>& set, T& result,
                  option_origin& origin) const {
    find(bare, set, result, origin);
    if (explained_)
      explained_->push_back({bare, text_of(result), origin});
  }

private:
  template <class T>
  void find(std::string_view bare, const std::optional<T>& set, T& result,
            option_origin& origin) const {
    const auto& info = info_of(bare);
    if (set) {
      // Goes the way of a text, so that code and configuration are held to the
      // same bounds in the same words.
      parse(code_key(bare), info, text_of(*set), result);
      origin = option_origin::code;
      return;
    }
    if (!pool_.empty()) {
      if (auto i = table_.find(pool_key(pool_, bare)); i != table_.end()) {
        parse(i->first, info, i->second, result);
        origin = option_origin::pool_config;
        return;
      }
    }
    if (auto i = table_.find(general_key(bare)); i != table_.end()) {
      parse(i->first, info, i->second, result);
      origin = option_origin::config;
    }
  }

  std::string_view pool_;
  const option_table& table_;
  std::vector<explained_option>* explained_;
};

/// Names an option for an error: by the place where it was set, or by the key
/// that would set it.
std::string settable_name(option_origin origin, std::string_view bare,
                          std::string_view pool) {
  return origin == option_origin::built_in ? general_key(bare)
                                           : origin_name(origin, bare, pool);
}

// Notes each option in `explained`, if that is wanted.
effective_options add_up(const pool_options& options, const option_table& table,
                         std::vector<explained_option>* explained = nullptr) {
  effective_options result;
  result.name = options.name;
  if (options.resource)
    check_rules(options.resource->rules);
  result.resource = options.resource;
  result.procedures = options.procedures;
  result.clock = options.clock;
  result.on_worker_start = options.on_worker_start;
  result.on_worker_stop = options.on_worker_stop;
  auto& from = result.origin;
  picker pick{options.name, table, explained};
  pick("workers", options.workers, result.workers, from.workers);
  pick("min-workers", options.min_workers, result.min_workers,
       from.min_workers);
  pick("workers-limit", options.workers_limit, result.workers_limit,
       from.workers_limit);
  pick("idle-timeout", options.idle_timeout, result.idle_timeout,
       from.idle_timeout);
  pick("max-queued", options.max_queued, result.max_queued, from.max_queued);
  pick("on-full", options.on_full, result.on_full, from.on_full);
  pick("spin", options.spin, result.spin, from.spin);
  pick("drain-timeout", options.drain_timeout, result.drain_timeout,
       from.drain_timeout);
  pick("max-run-time", options.max_run_time, result.max_run_time,
       from.max_run_time);
  pick("max-spares", options.max_spares, result.max_spares, from.max_spares);
  pick("on-stuck", options.on_stuck, result.on_stuck, from.on_stuck);
  pick("stack-size", options.stack_size, result.stack_size, from.stack_size);
  result.automatic = result.workers == automatic;
  auto [most, most_from, most_key] =
      result.automatic ? std::tuple{result.workers_limit, from.workers_limit,
                                    std::string_view{"workers-limit"}}
                       : std::tuple{result.workers, from.workers,
                                    std::string_view{"workers"}};
  if (result.min_workers > most) {
    auto most_name = settable_name(most_from, most_key, options.name);
    auto cause =
        "more than " + most_name + " = " + in_quotes(std::to_string(most));
    if (most_from == option_origin::built_in)
      cause += ", the default";
    refuse(settable_name(from.min_workers, "min-workers", options.name),
           std::to_string(result.min_workers), cause,
           "a whole number from 0 to " + most_name);
  }
  // Begins with what it would have without a word about it.
  if (result.automatic)
    result.workers = std::clamp(defaults::workers(),
                                std::max<std::size_t>(result.min_workers, 1),
                                result.workers_limit);
  return result;
}

} // namespace

// -- words --------------------------------------------------------------------

std::string_view to_string(on_full policy) noexcept {
  return policy == on_full::reject ? "reject" : "wait";
}

std::string_view to_string(on_stuck policy) noexcept {
  return policy == on_stuck::quick_exit ? "quick-exit" : "wait";
}

// -- adding up ----------------------------------------------------------------

effective_options resolve(const pool_options& options,
                          const option_table& table) {
  // A slip in another pool's keys should not wait until that pool is made.
  for (const auto& [key, text] : table)
    check_option(key, text);
  return add_up(options, table);
}

void check_options(const option_table& table) {
  for (const auto& [key, text] : table)
    check_option(key, text);
  add_up({}, table);
  for (auto& name : pool_names(table))
    add_up(pool_options{.name = name}, table);
}

std::vector<explained_option> explain(const pool_options& options,
                                      const option_table& table) {
  std::vector<explained_option> result;
  add_up(options, table, &result);
  return result;
}

std::vector<std::string> pool_names(const option_table& table) {
  std::vector<std::string> result;
  for (const auto& entry : table)
    if (auto parts = split(entry.first); parts && !parts->pool.empty())
      result.emplace_back(parts->pool);
  std::sort(result.begin(), result.end());
  result.erase(std::unique(result.begin(), result.end()), result.end());
  return result;
}

void check_option(std::string_view key, std::string_view text) {
  const auto* info = find_option(key);
  if (info == nullptr)
    refuse(unknown_key(key, text));
  switch (info->kind) {
  case option_kind::count: {
    std::size_t unused = 0;
    parse(key, *info, text, unused);
    break;
  }
  case option_kind::duration:
    parse_duration(key, text);
    break;
  default:
    if (info->key == "on-stuck")
      parse_on_stuck(key, text);
    else
      parse_on_full(key, text);
  }
}

std::string origin_name(option_origin origin, std::string_view key,
                        std::string_view pool) {
  switch (origin) {
  case option_origin::config:
    return general_key(key);
  case option_origin::pool_config:
    return pool_key(pool, key);
  case option_origin::code:
    return code_key(key);
  default:
    return "default";
  }
}

// -- the keys -----------------------------------------------------------------

std::span<const option_info> option_infos() noexcept {
  return infos;
}

const option_info* find_option(std::string_view key) noexcept {
  auto parts = split(key);
  return parts ? find_bare(parts->bare) : nullptr;
}

std::string unknown_key(std::string_view key,
                        std::optional<std::string_view> text) {
  std::string result{key};
  if (text) {
    result += " = ";
    result += in_quotes(*text);
  }
  result += ": unknown key";
  if (auto meant = suggest(key)) {
    result += "; did you mean '";
    result += *meant;
    result += "'?";
  }
  result +=
      " (accepted: troupe.KEY and troupe.pools.NAME.KEY, where KEY is one "
      "of ";
  result += accepted_keys();
  result += ')';
  return result;
}

std::string accepted_values(std::string_view key) {
  const auto* info = find_option(key);
  return info == nullptr ? std::string{} : accepted_by(*info);
}

std::optional<std::string>
closest_match(std::string_view word, std::span<const std::string> candidates) {
  // One slip in three letters still looks like the word that was meant.
  auto best = std::max<std::size_t>(1, word.size() / 3) + 1;
  const std::string* result = nullptr;
  for (const auto& candidate : candidates) {
    auto distance = edit_distance(word, candidate);
    if (distance < best && distance < candidate.size()) {
      best = distance;
      result = &candidate;
    }
  }
  if (result == nullptr)
    return {};
  return *result;
}

// -- values as text -----------------------------------------------------------

std::size_t parse_count(std::string_view key, std::string_view text,
                        std::size_t least, std::size_t most) {
  auto digits = text;
  auto negative = digits.starts_with('-');
  if (negative)
    digits.remove_prefix(1);
  std::size_t value = 0;
  const auto* last = digits.data() + digits.size();
  auto [end, code] = std::from_chars(digits.data(), last, value);
  if (code == std::errc::invalid_argument || end != last)
    refuse(key, text, "not a count", accepted_count(least, most));
  if (code == std::errc::result_out_of_range || negative || value < least
      || value > most)
    refuse(key, text, "out of range", accepted_count(least, most));
  return value;
}

std::size_t parse_workers(std::string_view key, std::string_view text) {
  if (text == automatic_word)
    return automatic;
  auto digits = text.substr(text.starts_with('-') ? 1 : 0);
  auto is_count =
      !digits.empty() && digits.find_first_not_of("0123456789") == digits.npos;
  if (!is_count) {
    std::vector words{std::string{automatic_word}};
    auto cause = closest_match(text, words)
                     ? "not a count; did you mean 'auto'?"
                     : "not a count";
    refuse(key, text, cause, accepted_workers());
  }
  try {
    return parse_count(key, text, 1, defaults::workers_limit);
  } catch (const failure&) {
    refuse(key, text, "out of range", accepted_workers());
  }
}

nanoseconds parse_duration(std::string_view key, std::string_view text) {
  using rep = std::uint64_t;
  static constexpr std::pair<std::string_view, rep> units[] = {
      {"ns", 1},
      {"us", 1'000},
      {"ms", 1'000'000},
      {"s", 1'000'000'000},
      {"min", 60'000'000'000},
      {"h", 3'600'000'000'000},
  };
  auto refuse_for = [&](std::string_view cause) {
    refuse(key, text, cause, accepted_duration());
  };
  auto is_digit = [](char ch) { return ch >= '0' && ch <= '9'; };
  auto rest = text;
  auto negative = rest.starts_with('-');
  if (negative)
    rest.remove_prefix(1);
  auto take_digits = [&] {
    auto end = std::find_if_not(rest.begin(), rest.end(), is_digit);
    auto count = static_cast<std::size_t>(end - rest.begin());
    auto digits = rest.substr(0, count);
    rest.remove_prefix(count);
    return digits;
  };
  auto whole = take_digits();
  std::string_view fraction;
  auto has_point = rest.starts_with('.');
  if (has_point) {
    rest.remove_prefix(1);
    fraction = take_digits();
  }
  if (whole.empty() || (has_point && fraction.empty()))
    refuse_for("not a duration");
  auto is_zero = whole.find_first_not_of('0') == whole.npos
                 && fraction.find_first_not_of('0') == fraction.npos;
  if (rest.empty() && is_zero && !negative)
    return nanoseconds{0};
  const auto* unit = std::find_if(
      std::begin(units), std::end(units),
      [rest](const auto& candidate) { return candidate.first == rest; });
  if (unit == std::end(units))
    refuse_for(rest.empty() ? "no unit" : "not a duration");
  if (negative)
    refuse_for("negative");
  constexpr auto limit = static_cast<rep>(defaults::duration_limit.count());
  rep value = 0;
  auto [end, code] =
      std::from_chars(whole.data(), whole.data() + whole.size(), value);
  // The bound also keeps the arithmetic below from overflowing.
  if (code != std::errc{} || value > limit / unit->second)
    refuse_for("out of range");
  value *= unit->second;
  auto scale = unit->second;
  for (auto digit : fraction) {
    if (scale % 10 != 0) {
      if (digit != '0')
        refuse_for("finer than a nanosecond");
      continue;
    }
    scale /= 10;
    value += scale * static_cast<rep>(digit - '0');
  }
  if (value > limit)
    refuse_for("out of range");
  return nanoseconds{static_cast<nanoseconds::rep>(value)};
}

on_full parse_on_full(std::string_view key, std::string_view text) {
  if (text == "wait")
    return on_full::wait;
  if (text == "reject")
    return on_full::reject;
  refuse(key, text, "not a known word", accepted_words(info_of("on-full")));
}

on_stuck parse_on_stuck(std::string_view key, std::string_view text) {
  if (text == "wait")
    return on_stuck::wait;
  if (text == "quick-exit")
    return on_stuck::quick_exit;
  refuse(key, text, "not a known word", accepted_words(info_of("on-stuck")));
}

std::string to_text(nanoseconds value) {
  static constexpr std::pair<nanoseconds::rep, std::string_view> units[] = {
      {3'600'000'000'000, "h"}, {60'000'000'000, "min"}, {1'000'000'000, "s"},
      {1'000'000, "ms"},        {1'000, "us"},
  };
  if (value.count() == 0)
    return "0s";
  for (auto [size, name] : units)
    if (value.count() % size == 0)
      return std::to_string(value.count() / size) += name;
  return std::to_string(value.count()) += "ns";
}

std::string on_one_line(std::string_view text) {
  static constexpr char hex[] = "0123456789abcdef";
  std::string result;
  for (auto ch : text) {
    auto byte = static_cast<unsigned char>(ch);
    if (byte >= 0x20 && byte != 0x7f) {
      result += ch;
      continue;
    }
    result += "\\x";
    result += hex[byte >> 4];
    result += hex[byte & 0xf];
  }
  return result;
}

std::string in_quotes(std::string_view text) {
  std::string result{'\''};
  result += on_one_line(text);
  result += '\'';
  return result;
}

} // namespace troupe
