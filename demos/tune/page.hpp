// The report for a browser: one page that brings all that it needs, with two
// charts that it draws by itself. Well-formed as XML, too.
#pragma once

#include "report.hpp"

#include <string>
#include <string_view>
#include <vector>

namespace tune {

/// Returns `text` as it may stand in the page, also inside quotes.
std::string escaped(std::string_view text);

/// Returns the marks of an axis that goes from 0 to at least `most`: few, at
/// round numbers.
std::vector<double> axis_marks(double most);

/// Returns the page.
///
/// @param when the time of the run, as the page is to show it.
std::string page(const summary& all, std::string_view when);

} // namespace tune
