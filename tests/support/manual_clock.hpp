// The manual clock of troupe/testing.hpp under the names that tests use.

#pragma once

#include "troupe/testing.hpp"

namespace test {

using troupe::testing::manual_clock;
using troupe::testing::manual_time;

} // namespace test
