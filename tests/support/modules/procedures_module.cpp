// The procedures of the tests as a library for troupe-worker.

#include "test_procedures.hpp"

extern "C" void troupe_procedures(troupe::procedures& all) {
  all = test::all_procedures();
}
