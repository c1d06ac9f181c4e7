// What options accept, how the places where they can be set add up, and what
// the errors say.

#include "troupe/options.hpp"

#include "troupe/error.hpp"

#include <catch2/catch.hpp>

#include <string>
#include <vector>

using namespace std::chrono_literals;

using troupe::option_origin;
using troupe::option_table;
using troupe::pool_options;
using troupe::resolve;

namespace {

/// Returns the text of the `invalid_option` that `fn` throws.
template <class Fn>
std::string refusal_of(Fn fn) {
  try {
    fn();
  } catch (const troupe::failure& err) {
    CHECK(err.code() == troupe::ec::invalid_option);
    return err.what();
  }
  return "nothing was refused";
}

std::string refusal_of(const pool_options& options, const option_table& table) {
  return refusal_of([&] { resolve(options, table); });
}

std::string refusal_of(const option_table& table) {
  return refusal_of([&] { troupe::check_options(table); });
}

std::string refused_duration(std::string_view text) {
  return refusal_of([&] { troupe::parse_duration("troupe.spin", text); });
}

std::chrono::nanoseconds duration(std::string_view text) {
  return troupe::parse_duration("troupe.spin", text);
}

constexpr auto counts = " (accepted: a whole number from 1 to 65536, or auto)";

constexpr auto durations = " (accepted: a duration from 0 to 8760h, such as "
                           "500ms or 1.5s; units: ns, us, ms, s, min, h)";

constexpr auto keys =
    " (accepted: troupe.KEY and troupe.pools.NAME.KEY, where KEY is one of "
    "workers, min-workers, workers-limit, idle-timeout, max-queued, on-full, "
    "spin, drain-timeout, max-run-time, max-spares, on-stuck, stack-size)";

} // namespace

// -- adding up ----------------------------------------------------------------

TEST_CASE("a pool without options has the documented defaults", "[options]") {
  auto is = resolve({}, {});
  CHECK(is.name.empty());
  CHECK(is.workers == troupe::defaults::workers());
  CHECK(is.workers >= 5);
  CHECK(is.workers <= 32);
  CHECK_FALSE(is.automatic);
  CHECK(is.min_workers == 0);
  CHECK(is.workers_limit == troupe::defaults::automatic_limit());
  CHECK(is.workers_limit >= 64);
  CHECK(is.workers_limit <= 512);
  CHECK(is.idle_timeout == 10s);
  CHECK(is.max_queued == 1'000'000);
  CHECK(is.on_full == troupe::on_full::wait);
  CHECK(is.spin == 0ns);
  CHECK(is.drain_timeout == 30s);
  CHECK(is.max_run_time == 0s);
  CHECK(is.max_spares == 2);
  CHECK(is.on_stuck == troupe::on_stuck::wait);
  CHECK(is.stack_size == 0);
  CHECK_FALSE(is.resource);
  CHECK(is.clock == nullptr);
  CHECK(is.origin.workers == option_origin::built_in);
  CHECK(is.origin.drain_timeout == option_origin::built_in);
}

TEST_CASE("an option in code beats the pool's key, that the general key, that "
          "the default",
          "[options]") {
  option_table table{{"troupe.workers", "3"},
                     {"troupe.spin", "5us"},
                     {"troupe.pools.db.workers", "2"}};
  auto in_code = resolve({.name = "db", .workers = 7}, table);
  CHECK(in_code.workers == 7);
  CHECK(in_code.origin.workers == option_origin::code);
  auto by_name = resolve({.name = "db"}, table);
  CHECK(by_name.workers == 2);
  CHECK(by_name.origin.workers == option_origin::pool_config);
  CHECK(by_name.spin == 5us);
  CHECK(by_name.origin.spin == option_origin::config);
  auto other = resolve({.name = "io"}, table);
  CHECK(other.workers == 3);
  CHECK(other.origin.workers == option_origin::config);
  CHECK(other.idle_timeout == 10s);
  CHECK(other.origin.idle_timeout == option_origin::built_in);
}

TEST_CASE("every key can be set in each of the three places", "[options]") {
  option_table general{
      {"troupe.workers", "11"},          {"troupe.min-workers", "1"},
      {"troupe.workers-limit", "77"},    {"troupe.idle-timeout", "1min"},
      {"troupe.max-queued", "9"},        {"troupe.on-full", "reject"},
      {"troupe.spin", "20us"},           {"troupe.drain-timeout", "2h"},
      {"troupe.max-run-time", "1min"},   {"troupe.max-spares", "5"},
      {"troupe.on-stuck", "quick-exit"}, {"troupe.stack-size", "16777216"}};
  option_table named;
  for (const auto& [key, text] : general)
    named["troupe.pools.db." + key.substr(7)] = text;
  pool_options code{.name = "db",
                    .workers = 11,
                    .min_workers = 1,
                    .workers_limit = 77,
                    .idle_timeout = 1min,
                    .max_queued = 9,
                    .on_full = troupe::on_full::reject,
                    .spin = 20us,
                    .drain_timeout = 2h,
                    .max_run_time = 1min,
                    .max_spares = 5,
                    .on_stuck = troupe::on_stuck::quick_exit,
                    .stack_size = 16'777'216};
  auto check = [](const troupe::effective_options& is, option_origin origin) {
    CHECK(is.workers == 11);
    CHECK(is.min_workers == 1);
    CHECK(is.workers_limit == 77);
    CHECK(is.idle_timeout == 1min);
    CHECK(is.max_queued == 9);
    CHECK(is.on_full == troupe::on_full::reject);
    CHECK(is.spin == 20us);
    CHECK(is.drain_timeout == 2h);
    CHECK(is.max_run_time == 1min);
    CHECK(is.max_spares == 5);
    CHECK(is.on_stuck == troupe::on_stuck::quick_exit);
    CHECK(is.stack_size == 16'777'216);
    CHECK(is.origin.workers == origin);
    CHECK(is.origin.min_workers == origin);
    CHECK(is.origin.workers_limit == origin);
    CHECK(is.origin.idle_timeout == origin);
    CHECK(is.origin.max_queued == origin);
    CHECK(is.origin.on_full == origin);
    CHECK(is.origin.spin == origin);
    CHECK(is.origin.drain_timeout == origin);
    CHECK(is.origin.max_run_time == origin);
    CHECK(is.origin.max_spares == origin);
    CHECK(is.origin.on_stuck == origin);
    CHECK(is.origin.stack_size == origin);
  };
  check(resolve({.name = "db"}, general), option_origin::config);
  check(resolve({.name = "db"}, named), option_origin::pool_config);
  check(resolve(code, {}), option_origin::code);
}

TEST_CASE("resource and clock are handed through", "[options]") {
  struct still final : troupe::clock {
    time_point now() const noexcept override { return {}; }
    bool call_at(time_point, std::function<void()>) override { return true; }
  };
  auto time = std::make_shared<still>();
  auto is = resolve(
      {.resource = troupe::make_resource<int>([] { return 1; }), .clock = time},
      {});
  CHECK(is.clock == time);
  REQUIRE(is.resource);
  CHECK(is.resource->type == typeid(int));
}

TEST_CASE("the keys of a pool whose name has dots are found", "[options]") {
  option_table table{{"troupe.pools.eu.west.workers", "2"}};
  CHECK(resolve({.name = "eu.west"}, table).workers == 2);
  CHECK(resolve({.name = "eu"}, table).origin.workers
        == option_origin::built_in);
}

TEST_CASE("an origin is named by the full key", "[options]") {
  CHECK(troupe::origin_name(option_origin::built_in, "min-workers", "db")
        == "default");
  CHECK(troupe::origin_name(option_origin::config, "min-workers", "db")
        == "troupe.min-workers");
  CHECK(troupe::origin_name(option_origin::pool_config, "min-workers", "db")
        == "troupe.pools.db.min-workers");
  CHECK(troupe::origin_name(option_origin::code, "min-workers", "db")
        == "pool_options.min_workers");
}

// -- bad input ----------------------------------------------------------------

TEST_CASE("a count out of range is refused with key, value and bounds",
          "[options]") {
  CHECK(refusal_of({}, {{"troupe.workers", "0"}})
        == std::string{"troupe.workers = '0': out of range"} + counts);
  CHECK(refusal_of({}, {{"troupe.workers", "-3"}})
        == std::string{"troupe.workers = '-3': out of range"} + counts);
  CHECK(refusal_of({}, {{"troupe.workers", "65537"}})
        == std::string{"troupe.workers = '65537': out of range"} + counts);
  CHECK(refusal_of({}, {{"troupe.workers", "99999999999999999999999"}})
        == std::string{"troupe.workers = '99999999999999999999999': out of "
                       "range"}
               + counts);
  CHECK(refusal_of({}, {{"troupe.max-queued", "0"}})
        == "troupe.max-queued = '0': out of range (accepted: a whole number "
           "from 1 to 1000000000000)");
}

TEST_CASE("counts are accepted up to their bounds", "[options]") {
  CHECK(resolve({}, {{"troupe.workers", "1"}}).workers == 1);
  CHECK(resolve({}, {{"troupe.workers", "65536"}}).workers == 65'536);
  CHECK(resolve({}, {{"troupe.min-workers", "0"}}).min_workers == 0);
  CHECK(resolve({}, {{"troupe.max-queued", "1000000000000"}}).max_queued
        == 1'000'000'000'000);
}

TEST_CASE("what is no count is refused as such", "[options]") {
  for (std::string text : {"many", "", " ", "4s", "4.0", "0x4", "+4", "--4",
                           "4 ", " 4", "4,5", "automatic"}) {
    CAPTURE(text);
    CHECK(refusal_of({}, {{"troupe.workers", text}})
          == "troupe.workers = '" + text + "': not a count" + counts);
  }
}

TEST_CASE("durations are read in every unit, also as decimals", "[options]") {
  CHECK(duration("7ns") == 7ns);
  CHECK(duration("50us") == 50us);
  CHECK(duration("500ms") == 500ms);
  CHECK(duration("10s") == 10s);
  CHECK(duration("3min") == 3min);
  CHECK(duration("8760h") == 8'760h);
  CHECK(duration("1.5s") == 1'500ms);
  CHECK(duration("0.25ms") == 250us);
  CHECK(duration("1.5min") == 90s);
  CHECK(duration("0.1h") == 6min);
  CHECK(duration("2.000000000s") == 2s);
  CHECK(duration("1.0ns") == 1ns);
  CHECK(duration("0") == 0ns);
  CHECK(duration("0.0") == 0ns);
  CHECK(duration("0h") == 0ns);
}

TEST_CASE("what is no duration is refused as such", "[options]") {
  for (std::string text :
       {"", "s", "soon", "10 s", " 10s", "10S", "1.s", ".5s", "1e3s", "10ss",
        "1,5s", "5d", "+5s", "1h5m", "1.5.5s", "-", "0x1s"}) {
    CAPTURE(text);
    CHECK(refused_duration(text)
          == "troupe.spin = '" + text + "': not a duration" + durations);
  }
}

TEST_CASE("a duration that is negative, too long, too fine or has no unit is "
          "refused",
          "[options]") {
  auto refused = [](std::string text, std::string cause) {
    CAPTURE(text);
    CHECK(refused_duration(text)
          == "troupe.spin = '" + text + "': " + cause + durations);
  };
  refused("-5us", "negative");
  refused("-0s", "negative");
  refused("10", "no unit");
  refused("-1", "no unit");
  refused("8761h", "out of range");
  refused("8760.5h", "out of range");
  refused("99999999999999999999999s", "out of range");
  // Would come out as a small number if it were multiplied unchecked.
  refused("5124096h", "out of range");
  refused("0.5ns", "finer than a nanosecond");
  refused("1.0005us", "finer than a nanosecond");
}

TEST_CASE("a word that is not known is refused with those that are",
          "[options]") {
  CHECK(refusal_of({}, {{"troupe.on-full", "drop"}})
        == "troupe.on-full = 'drop': not a known word (accepted: wait or "
           "reject)");
  CHECK(resolve({}, {{"troupe.on-full", "wait"}}).on_full
        == troupe::on_full::wait);
}

TEST_CASE("values in code are held to the same bounds", "[options]") {
  CHECK(refusal_of({.workers = 0}, {})
        == std::string{"pool_options.workers = '0': out of range"} + counts);
  CHECK(refusal_of({.max_queued = 0}, {})
        == "pool_options.max_queued = '0': out of range (accepted: a whole "
           "number from 1 to 1000000000000)");
  CHECK(refusal_of({.idle_timeout = -5ns}, {})
        == std::string{"pool_options.idle_timeout = '-5ns': negative"}
               + durations);
  CHECK(refusal_of({.spin = std::chrono::nanoseconds::max()}, {})
        == std::string{"pool_options.spin = '9223372036854775807ns': out of "
                       "range"}
               + durations);
  CHECK(refusal_of({.on_full = static_cast<troupe::on_full>(7)}, {})
        == "pool_options.on_full = '7': not a known word (accepted: wait or "
           "reject)");
}

TEST_CASE("more workers kept than allowed is a contradiction that names both",
          "[options]") {
  CHECK(refusal_of({}, {{"troupe.min-workers", "9"}, {"troupe.workers", "4"}})
        == "troupe.min-workers = '9': more than troupe.workers = '4' "
           "(accepted: a whole number from 0 to troupe.workers)");
  CHECK(refusal_of({.name = "db"}, {{"troupe.pools.db.min-workers", "9"},
                                    {"troupe.workers", "4"}})
        == "troupe.pools.db.min-workers = '9': more than troupe.workers = '4' "
           "(accepted: a whole number from 0 to troupe.workers)");
  CHECK(refusal_of({.workers = 1}, {{"troupe.min-workers", "2"}})
        == "troupe.min-workers = '2': more than pool_options.workers = '1' "
           "(accepted: a whole number from 0 to pool_options.workers)");
  auto most = std::to_string(troupe::defaults::workers());
  CHECK(refusal_of({}, {{"troupe.min-workers", "33"}})
        == "troupe.min-workers = '33': more than troupe.workers = '" + most
               + "', the default (accepted: a whole number from 0 to "
                 "troupe.workers)");
}

TEST_CASE("as many workers kept as allowed is no contradiction", "[options]") {
  auto is = resolve({.workers = 8, .min_workers = 8}, {});
  CHECK(is.workers == 8);
  CHECK(is.min_workers == 8);
}

TEST_CASE("an automatic pool begins with what it would have without a word "
          "about it, within its bounds",
          "[options]") {
  auto begins = troupe::defaults::workers();
  auto is = resolve({.workers = troupe::automatic}, {});
  CHECK(is.automatic);
  CHECK(is.workers == begins);
  CHECK(is.origin.workers == option_origin::code);
  CHECK(resolve({}, {{"troupe.workers", "auto"}}).automatic);
  is = resolve({.name = "db"}, {{"troupe.pools.db.workers", "auto"},
                                {"troupe.workers", "3"},
                                {"troupe.workers-limit", "2"}});
  CHECK(is.automatic);
  CHECK(is.workers == 2);
  CHECK(is.origin.workers == option_origin::pool_config);
  CHECK(is.origin.workers_limit == option_origin::config);
  is = resolve({.workers = troupe::automatic,
                .min_workers = begins + 3,
                .workers_limit = begins + 5},
               {});
  CHECK(is.workers == begins + 3);
  // A number goes over it, from nearer.
  CHECK_FALSE(resolve({.workers = 3}, {{"troupe.workers", "auto"}}).automatic);
}

TEST_CASE("what holds for an automatic pool is explained as it was said",
          "[options]") {
  auto all = troupe::explain({}, {{"troupe.workers", "auto"}});
  CHECK(all.at(0).key == "workers");
  CHECK(all.at(0).value == "auto");
  CHECK(all.at(0).origin == option_origin::config);
  CHECK(all.at(2).key == "workers-limit");
  CHECK(all.at(2).value == std::to_string(troupe::defaults::automatic_limit()));
}

TEST_CASE(
    "more workers kept than an automatic pool may have is a contradiction",
    "[options]") {
  CHECK(refusal_of({.workers = troupe::automatic, .min_workers = 9},
                   {{"troupe.workers-limit", "8"}})
        == "pool_options.min_workers = '9': more than troupe.workers-limit = "
           "'8' (accepted: a whole number from 0 to troupe.workers-limit)");
  auto most = std::to_string(troupe::defaults::automatic_limit());
  CHECK(refusal_of({},
                   {{"troupe.min-workers", "600"}, {"troupe.workers", "auto"}})
        == "troupe.min-workers = '600': more than troupe.workers-limit = '"
               + most
               + "', the default (accepted: a whole number from 0 to "
                 "troupe.workers-limit)");
  // The limit is nothing to a pool of a fixed size.
  CHECK(resolve({.workers = 9, .min_workers = 9, .workers_limit = 2}, {})
            .min_workers
        == 9);
}

TEST_CASE("what is almost 'auto', or stands elsewhere, is refused",
          "[options]") {
  for (auto text : {"autp", "Auto", "atuo", "automatic"}) {
    auto said = refusal_of({}, {{"troupe.workers", text}});
    INFO(said);
    CHECK(said.find("= '" + std::string{text} + "': not a count") != said.npos);
    CHECK((said.find("; did you mean 'auto'?") != said.npos)
          == (std::string_view{text} != "automatic"));
    CHECK(said.find(counts) != said.npos);
  }
  CHECK(refusal_of({}, {{"troupe.min-workers", "auto"}})
        == "troupe.min-workers = 'auto': not a count (accepted: a whole number "
           "from 0 to 65536)");
  CHECK(refusal_of({}, {{"troupe.workers-limit", "0"}})
        == "troupe.workers-limit = '0': out of range (accepted: a whole number "
           "from 1 to 65536)");
  CHECK(refusal_of({.workers_limit = 70'000}, {})
        == "pool_options.workers_limit = '70000': out of range (accepted: a "
           "whole number from 1 to 65536)");
  // A slip of the finger is not what it must not be.
  CHECK(refusal_of({.workers = static_cast<std::size_t>(-1)}, {})
        == "pool_options.workers = '18446744073709551615': out of range"
               + std::string{counts});
}

TEST_CASE("a misspelt key is refused with the one that was meant",
          "[options]") {
  auto refused = [](std::string key, std::string meant) {
    auto did_you_mean = "; did you mean '" + meant + "'?";
    CHECK(refusal_of({}, {{key, "4"}})
          == key + " = '4': unknown key" + did_you_mean + keys);
  };
  refused("troupe.wokers", "troupe.workers");
  refused("troupe.worker", "troupe.workers");
  refused("troupe.min-workrs", "troupe.min-workers");
  refused("troupe.min_workers", "troupe.min-workers");
  refused("troupe.spni", "troupe.spin");
  refused("troupe.pools.db.wrokers", "troupe.pools.db.workers");
  refused("troupe.pool.db.workers", "troupe.pools.db.workers");
  refused("troupe.db.workers", "troupe.pools.db.workers");
  refused("troupe.pools.workers", "troupe.pools.NAME.workers");
  refused("troupe.pools..workers", "troupe.pools.NAME.workers");
}

TEST_CASE("a key that resembles none is refused without a guess", "[options]") {
  for (std::string key :
       {"troupe.explain", "troupe.trace", "troupe.x", "troupe.", "troupe",
        "troupe.pools", "troupe.pools.db", "troupe.workers.colour"}) {
    CAPTURE(key);
    CHECK(refusal_of({}, {{key, "4"}}) == key + " = '4': unknown key" + keys);
  }
}

TEST_CASE("a slip in the keys of another pool is not passed over",
          "[options]") {
  CHECK(refusal_of({.name = "io"}, {{"troupe.pools.db.workers", "0"}})
        == std::string{"troupe.pools.db.workers = '0': out of range"} + counts);
}

TEST_CASE("checking a table checks every pool that it names", "[options]") {
  CHECK(refusal_of({{"troupe.workers", "4"},
                    {"troupe.pools.a.workers", "2"},
                    {"troupe.pools.b.min-workers", "5"}})
        == "troupe.pools.b.min-workers = '5': more than troupe.workers = '4' "
           "(accepted: a whole number from 0 to troupe.workers)");
  CHECK_NOTHROW(troupe::check_options({{"troupe.workers", "4"},
                                       {"troupe.pools.a.workers", "2"},
                                       {"troupe.pools.b.min-workers", "4"}}));
}

TEST_CASE("an error stays on one line whatever the value holds", "[options]") {
  CHECK(refusal_of({}, {{"troupe.workers", "4\n5\x1b"}})
        == std::string{"troupe.workers = '4\\x0a5\\x1b': not a count"}
               + counts);
}

TEST_CASE("each key is explained, in order, with what resolve makes of it",
          "[options]") {
  troupe::option_table table{{"troupe.workers", "7"},
                             {"troupe.pools.db.spin", "1500us"}};
  auto all = troupe::explain({.name = "db", .min_workers = 2}, table);
  auto infos = troupe::option_infos();
  REQUIRE(all.size() == infos.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    CAPTURE(all[i].key);
    CHECK(all[i].key == infos[i].key);
    // What is printed is accepted.
    CHECK_NOTHROW(troupe::check_option("troupe." + std::string{all[i].key},
                                       all[i].value));
    auto name = troupe::origin_name(all[i].origin, all[i].key, "db");
    if (all[i].key == "workers") {
      CHECK(all[i].value == "7");
      CHECK(name == "troupe.workers");
    } else if (all[i].key == "min-workers") {
      CHECK(all[i].value == "2");
      CHECK(name == "pool_options.min_workers");
    } else if (all[i].key == "spin") {
      CHECK(all[i].value == "1500us");
      CHECK(name == "troupe.pools.db.spin");
    } else {
      CHECK(name == "default");
    }
  }
}

TEST_CASE("pools are named once each, in order, also with dots in the name",
          "[options]") {
  CHECK(troupe::pool_names({{"troupe.workers", "7"},
                            {"troupe.pools.db.spin", "1us"},
                            {"troupe.pools.db.workers", "1"},
                            {"troupe.pools.a.b.workers", "1"}})
        == std::vector<std::string>{"a.b", "db"});
  CHECK(troupe::pool_names({}).empty());
}

// -- values as text -----------------------------------------------------------

TEST_CASE("a duration written as text reads back the same", "[options]") {
  CHECK(troupe::to_text(10s) == "10s");
  CHECK(troupe::to_text(1'500ms) == "1500ms");
  CHECK(troupe::to_text(90min) == "90min");
  CHECK(troupe::to_text(48h) == "48h");
  CHECK(troupe::to_text(50us) == "50us");
  CHECK(troupe::to_text(7ns) == "7ns");
  CHECK(troupe::to_text(0ns) == "0s");
  for (auto value : {0ns, 1ns, 999ns, 1'000'001ns, 123'456'789'000ns})
    CHECK(duration(troupe::to_text(value)) == value);
}

TEST_CASE("the closest match is found only among words that are alike",
          "[options]") {
  std::vector<std::string> words{"list", "limit", "json", "n"};
  CHECK(troupe::closest_match("lits", words) == "list");
  CHECK(troupe::closest_match("jsn", words) == "json");
  CHECK_FALSE(troupe::closest_match("output", words));
  CHECK_FALSE(troupe::closest_match("x", words));
  CHECK_FALSE(troupe::closest_match("", words));
}

TEST_CASE("every key that is explained can be set", "[options]") {
  CHECK(troupe::option_infos().size() == 12);
  for (const auto& info : troupe::option_infos()) {
    auto general = "troupe." + std::string{info.key};
    auto named = "troupe.pools.db." + std::string{info.key};
    CHECK(troupe::find_option(general) == &info);
    CHECK(troupe::find_option(named) == &info);
    CHECK_FALSE(troupe::accepted_values(general).empty());
    // The default that is printed is one that is accepted.
    if (info.key != "workers" && info.key != "workers-limit")
      CHECK_NOTHROW(troupe::check_option(general, info.fallback));
  }
}
