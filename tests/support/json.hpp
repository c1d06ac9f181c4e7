// Reads JSON that a test is handed by somebody else: a server's answer, a file
// that is to be valid.

#pragma once

#include <cctype>
#include <cstddef>
#include <cstdlib>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test {

/// A JSON value. What is asked of a value of another kind is empty.
class json {
public:
  enum class kind { null, boolean, number, text, array, object };

  /// Reads one value that is all of `text`.
  /// @throws std::runtime_error if it isn't JSON; says where.
  static json parse(std::string_view text);

  kind type() const noexcept { return type_; }

  bool is_null() const noexcept { return type_ == kind::null; }

  /// Returns a number, or 1 for `true`.
  double number() const noexcept { return number_; }

  bool truth() const noexcept { return number_ != 0; }

  const std::string& text() const& noexcept { return text_; }

  std::string text() && noexcept { return std::move(text_); }

  /// Returns the elements of an array, or the values of an object.
  const std::vector<json>& items() const& noexcept { return items_; }

  std::vector<json> items() && noexcept { return std::move(items_); }

  /// Returns the keys of an object, in the order of `items`.
  const std::vector<std::string>& keys() const noexcept { return keys_; }

  /// Returns the value of a key; null if there is none.
  const json& operator[](std::string_view key) const {
    for (std::size_t i = 0; i < keys_.size(); ++i)
      if (keys_[i] == key)
        return items_[i];
    static const json none;
    return none;
  }

private:
  class reader;

  kind type_ = kind::null;
  double number_ = 0;
  std::string text_;
  std::vector<std::string> keys_;
  std::vector<json> items_;
};

class json::reader {
public:
  explicit reader(std::string_view text) : text_{text} {}

  json all() {
    auto result = value();
    if (peek() != 0 || at_ < text_.size())
      fail("the end");
    return result;
  }

private:
  [[noreturn]] void fail(const std::string& wanted) const {
    throw std::runtime_error{"not JSON at byte " + std::to_string(at_)
                             + ": expected " + wanted + ", found '"
                             + std::string{text_.substr(at_, 20)} + "'"};
  }

  // Returns the next character that is not blank; 0 at the end.
  char peek() {
    while (at_ < text_.size()
           && (text_[at_] == ' ' || text_[at_] == '\n' || text_[at_] == '\t'
               || text_[at_] == '\r'))
      ++at_;
    return at_ < text_.size() ? text_[at_] : '\0';
  }

  bool take(char c) {
    if (peek() != c)
      return false;
    ++at_;
    return true;
  }

  void expect(char c) {
    if (!take(c))
      fail(std::string{"'"} + c + "'");
  }

  void word(std::string_view what) {
    if (text_.substr(at_, what.size()) != what)
      fail("a value");
    at_ += what.size();
  }

  json value() {
    json result;
    switch (peek()) {
    case '{':
      result.type_ = kind::object;
      sequence('}', [&] {
        peek();
        result.keys_.push_back(string());
        expect(':');
        result.items_.push_back(value());
      });
      break;
    case '[':
      result.type_ = kind::array;
      sequence(']', [&] { result.items_.push_back(value()); });
      break;
    case '"':
      result.type_ = kind::text;
      result.text_ = string();
      break;
    case 't':
      word("true");
      result.type_ = kind::boolean;
      result.number_ = 1;
      break;
    case 'f':
      word("false");
      result.type_ = kind::boolean;
      break;
    case 'n':
      word("null");
      break;
    default:
      result.type_ = kind::number;
      result.number_ = digits();
    }
    return result;
  }

  template <class Item>
  void sequence(char close, Item item) {
    ++at_;
    if (take(close))
      return;
    do
      item();
    while (take(','));
    expect(close);
  }

  double digits() {
    auto from = at_;
    // What strtod takes beyond this, such as "inf" and "0x1", is not JSON.
    while (at_ < text_.size()
           && (std::isdigit(static_cast<unsigned char>(text_[at_])) != 0
               || std::string_view{"+-.eE"}.find(text_[at_])
                      != std::string_view::npos))
      ++at_;
    std::string spelled{text_.substr(from, at_ - from)};
    char* end = nullptr;
    auto result = std::strtod(spelled.c_str(), &end);
    if (spelled.empty() || *end != '\0') {
      at_ = from;
      fail("a value");
    }
    return result;
  }

  std::string string() {
    if (at_ >= text_.size() || text_[at_] != '"')
      fail("a string");
    ++at_;
    std::string result;
    for (;; ++at_) {
      if (at_ >= text_.size() || static_cast<unsigned char>(text_[at_]) < 0x20)
        fail("the end of a string");
      if (text_[at_] == '"')
        break;
      if (text_[at_] == '\\')
        escaped(result);
      else
        result += text_[at_];
    }
    ++at_;
    return result;
  }

  // Characters beyond ASCII that are escaped come out as question marks: no
  // test looks at them.
  void escaped(std::string& to) {
    ++at_;
    constexpr std::string_view from = "\"\\/bfnrt";
    constexpr std::string_view into = "\"\\/\b\f\n\r\t";
    auto c = at_ < text_.size() ? text_[at_] : '\0';
    if (auto i = from.find(c); c != '\0' && i != from.npos) {
      to += into[i];
    } else if (c == 'u') {
      auto code = text_.substr(at_ + 1, 4);
      std::string hex{code};
      char* end = nullptr;
      auto number = std::strtoul(hex.c_str(), &end, 16);
      if (hex.size() != 4 || *end != '\0')
        fail("four digits");
      to += number < 0x80 ? static_cast<char>(number) : '?';
      at_ += 4;
    } else {
      fail("an escape");
    }
  }

  std::string_view text_;
  std::size_t at_ = 0;
};

inline json json::parse(std::string_view text) {
  return reader{text}.all();
}

} // namespace test
