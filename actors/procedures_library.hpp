// Loads a library of procedures, for the programs that make calls of other
// programs. The library need not link troupe: it finds in the program what it
// uses of it.

#pragma once

#include <dlfcn.h>

#include <stdexcept>
#include <string>

#include "troupe/procedure.hpp"

/// Adds the functions of the library, which defines `extern "C" void
/// troupe_procedures(troupe::procedures&)`.
///
/// Errors: throws std::runtime_error, whose text is one line.
inline troupe::procedures load_procedures(const std::string& library) {
  auto loaded = ::dlopen(library.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (loaded == nullptr)
    throw std::runtime_error{std::string{"cannot load the library: "}
                             + ::dlerror()};
  auto add = reinterpret_cast<void (*)(troupe::procedures&)>(
      ::dlsym(loaded, "troupe_procedures"));
  if (add == nullptr)
    throw std::runtime_error{std::string{"not a library of procedures: "}
                             + ::dlerror()};
  troupe::procedures result;
  try {
    add(result);
  } catch (const std::exception& why) {
    throw std::runtime_error{std::string{"cannot add the procedures: "}
                             + why.what()};
  } catch (...) {
    throw std::runtime_error{"cannot add the procedures: troupe_procedures of '"
                             + library
                             + "' has thrown what is no std::exception"};
  }
  return result;
}
