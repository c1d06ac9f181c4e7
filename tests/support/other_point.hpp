// What `test::point` might be in a program that was built from other sources:
// of the same name, and made of other things.

#pragma once

#include <string>

#include "test_procedures.hpp"

namespace other {

struct point {
  double x = 0;
};

template <class Inspector>
auto inspect(Inspector& f, point& value) {
#if TROUPE_CAF_1
  return f.object(value).fields(f.field("x", value.x));
#else
  return f(value.x);
#endif
}

} // namespace other

template <>
struct troupe::type_speller<other::point> {
  static std::string text() { return "test::point"; }
};
