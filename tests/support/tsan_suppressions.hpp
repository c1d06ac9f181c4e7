// What ThreadSanitizer cannot know. The count of who holds an exception is kept
// inside libstdc++.so, which is not instrumented: it sees one thread read an
// exception and another one destroy it, and not the count in between.

#pragma once

#if defined(__SANITIZE_THREAD__)

// Found by its name; the sanitizer prescribes it.
extern "C" [[gnu::used]] inline const char* __tsan_default_suppressions() {
  return "race:troupe::failure_record::~failure_record\n";
}

#endif
