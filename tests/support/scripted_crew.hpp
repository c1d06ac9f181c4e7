// The scripted pool of troupe/testing.hpp under the names that tests use.

#pragma once

#include "troupe/testing.hpp"

namespace test {

using troupe::testing::crew_script;
using troupe::testing::scripted_crew;

} // namespace test
