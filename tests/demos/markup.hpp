// Looks at a page as an XML parser would, as far as our pages go.
#pragma once

#include <string>
#include <string_view>

namespace test {

/// Returns what is wrong with `page`: a tag that is not closed or closes
/// another one, an attribute without quotes, a bare `<`, `>` or `&`. Empty: it
/// is well-formed.
std::string why_not_well_formed(std::string_view page);

/// Counts how often `what` occurs in `text`.
std::size_t occurrences(std::string_view text, std::string_view what);

} // namespace test
