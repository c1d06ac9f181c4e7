// Config keys and values, whatever bytes they are made of: each is taken or
// refused by a `failure`, and what is taken is in range.

#include "fuzz.hpp"

#include "troupe/count.hpp"
#include "troupe/defaults.hpp"
#include "troupe/error.hpp"
#include "troupe/options.hpp"

#include <string>

namespace {

template <class Call>
void taken_or_refused(Call call) {
  try {
    call();
  } catch (const troupe::failure& err) {
    fuzz::require(err.code() == troupe::ec::invalid_option,
                  "refused for another reason");
    fuzz::require(std::string_view{err.what()}.find('\n')
                      == std::string_view::npos,
                  "an error of two lines");
  }
}

} // namespace

// The first line is the key, the rest the value.
void fuzz::run(std::string_view input) {
  auto split = std::min(input.find('\n'), input.size());
  auto key = std::string{input.substr(0, split)};
  auto value = std::string{input.substr(std::min(split + 1, input.size()))};
  taken_or_refused([&] {
    auto n = troupe::parse_count("key", value, 1, 65'536);
    require(n >= 1 && n <= 65'536, "a count out of range");
  });
  taken_or_refused([&] {
    auto span = troupe::parse_duration("key", value);
    require(span.count() >= 0, "a duration below 0");
    require(troupe::parse_duration("key", troupe::to_text(span)) == span,
            "a duration that is not read back");
  });
  taken_or_refused([&] { troupe::parse_on_full("key", value); });
  taken_or_refused([&] { troupe::check_option(key, value); });
  taken_or_refused([&] { troupe::check_options({{key, value}}); });
  require(troupe::on_one_line(value).find('\n') == std::string::npos,
          "a line break on one line");
}
