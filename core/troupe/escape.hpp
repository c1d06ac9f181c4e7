// Text of users, such as labels, as it may stand in what machines read: JSON
// and the text format of Prometheus. Both take UTF-8 and nothing else.

#pragma once

#include <string>
#include <string_view>

namespace troupe {

/// Returns `text` with each byte that is not part of valid UTF-8 replaced by a
/// question mark.
std::string valid_utf8(std::string_view text);

/// Returns `text` as a JSON string, with its quotes.
std::string json_string(std::string_view text);

/// Returns `text` as the value of a label of a metric, with its quotes.
std::string metric_label(std::string_view text);

} // namespace troupe
