// A library for troupe-worker and troupe-node that throws what nobody expects.

#include "troupe/procedure.hpp"

extern "C" void troupe_procedures(troupe::procedures&) {
  throw 42;
}
