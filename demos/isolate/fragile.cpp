// What is inside the C library: it would be C, and compiled by somebody else.
#include "fragile.h"

#include <cstdlib>
#include <cstring>

long fragile_value(const char* record) {
  const volatile char* value = std::strchr(record, '=');
  if (value[0] != '=')
    return -1;
  return std::strtol(const_cast<const char*>(value) + 1, nullptr, 10);
}
