// Whether this program can serve a dashboard. One that cannot has to say so
// when it is asked to, and config is not of the library that can.

#pragma once

namespace troupe::detail {

/// Becomes true before `main` in a program that has a `dashboard` in it.
/// Whoever serves `config::dashboard` by other means sets it before the command
/// line is read.
bool& has_dashboard() noexcept;

} // namespace troupe::detail
