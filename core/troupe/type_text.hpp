// Names of types as people write them: "std::string" where a compiler says
// "std::__cxx11::basic_string<...>". For error texts, and for telling apart the
// signatures of procedures in two programs.

#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <tuple>
#include <type_traits>
#include <typeinfo>
#include <unordered_map>
#include <utility>
#include <vector>

#include <fmt/format.h>

namespace troupe {

/// Returns the name of a type that is only known at run time.
std::string type_text(const std::type_info& type);

/// Spells a type; specialised for templates whose defaults nobody spells out.
template <class T>
struct type_speller {
  static std::string text() { return type_text(typeid(T)); }
};

/// Returns the name of `T`, such as "std::vector<std::string>".
template <class T>
std::string type_text() {
  return type_speller<std::remove_cvref_t<T>>::text();
}

/// Returns the names of several types, such as "int, std::string".
template <class... Ts>
std::string type_list_text() {
  std::string result;
  ((result += result.empty() ? "" : ", ", result += type_text<Ts>()), ...);
  return result;
}

template <class T>
struct type_speller<std::vector<T>> {
  static std::string text() {
    return fmt::format("std::vector<{}>", type_text<T>());
  }
};

template <class T>
struct type_speller<std::optional<T>> {
  static std::string text() {
    return fmt::format("std::optional<{}>", type_text<T>());
  }
};

template <class T>
struct type_speller<std::set<T>> {
  static std::string text() {
    return fmt::format("std::set<{}>", type_text<T>());
  }
};

template <class K, class T>
struct type_speller<std::map<K, T>> {
  static std::string text() {
    return fmt::format("std::map<{}>", type_list_text<K, T>());
  }
};

template <class K, class T>
struct type_speller<std::unordered_map<K, T>> {
  static std::string text() {
    return fmt::format("std::unordered_map<{}>", type_list_text<K, T>());
  }
};

template <class A, class B>
struct type_speller<std::pair<A, B>> {
  static std::string text() {
    return fmt::format("std::pair<{}>", type_list_text<A, B>());
  }
};

template <class... Ts>
struct type_speller<std::tuple<Ts...>> {
  static std::string text() {
    return fmt::format("std::tuple<{}>", type_list_text<Ts...>());
  }
};

/// A signature, such as "std::string(std::string, int)".
template <class R, class... Args>
struct type_speller<R(Args...)> {
  static std::string text() {
    return fmt::format("{}({})", type_text<R>(), type_list_text<Args...>());
  }
};

} // namespace troupe
