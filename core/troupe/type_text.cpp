#include "troupe/type_text.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <memory>
#include <string_view>

namespace troupe {

std::string type_text(const std::type_info& type) {
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> name{
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free};
  std::string result = status == 0 ? name.get() : type.name();
  static constexpr std::string_view long_string =
      "std::__cxx11::basic_string<char, std::char_traits<char>, "
      "std::allocator<char> >";
  for (auto at = result.find(long_string); at != result.npos;
       at = result.find(long_string, at))
    result.replace(at, long_string.size(), "std::string");
  return result;
}

} // namespace troupe
