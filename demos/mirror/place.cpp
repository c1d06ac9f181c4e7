// From URL to path; see the header.
#include "place.hpp"

#include "parts/sha256.hpp"

#include <curl/curl.h>
#include <fmt/format.h>

#include <cctype>
#include <memory>
#include <new>
#include <optional>
#include <stdexcept>
#include <string_view>

namespace mirror {

namespace {

// File systems take 255 bytes a name and 4096 a path; what the user's folder
// needs, and a hash at the end, have to fit as well.
constexpr std::size_t longest_name = 200;
constexpr std::size_t longest_path = 2000;

struct deleter {
  void operator()(CURLU* url) const noexcept { curl_url_cleanup(url); }
  void operator()(char* text) const noexcept { curl_free(text); }
};

// Libcurl's own idea of the URL, so that the name is that of what is fetched.
class parsed {
public:
  explicit parsed(const std::string& url) : url_{curl_url()} {
    if (!url_)
      throw std::bad_alloc{};
    if (url.find('\0') != std::string::npos
        || curl_url_set(url_.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK)
      refuse();
    auto scheme = get(CURLUPART_SCHEME);
    if (scheme != "http" && scheme != "https")
      refuse();
  }

  std::optional<std::string> get(CURLUPart part, unsigned flags = 0) const {
    char* raw = nullptr;
    if (curl_url_get(url_.get(), part, &raw, flags) != CURLUE_OK)
      return std::nullopt;
    std::unique_ptr<char, deleter> text{raw};
    return text.get();
  }

private:
  [[noreturn]] static void refuse() {
    throw std::invalid_argument{"not a URL that can be fetched (accepted: "
                                "http://HOST/PATH and https://HOST/PATH)"};
  }

  std::unique_ptr<CURLU, deleter> url_;
};

std::string digest(std::string_view text) {
  parts::sha256 hash;
  hash.add(text.data(), text.size());
  return hash.finish();
}

std::string escaped(std::string_view text) {
  std::string result;
  for (auto byte : text) {
    auto odd =
        byte <= ' ' || byte > '~' || byte == '^' || byte == '/' || byte == '\\';
    if (odd)
      result += fmt::format("^{:02X}", static_cast<unsigned char>(byte));
    else
      result += byte;
  }
  return result;
}

// One name of a path. An empty one would vanish, and `a//b` be `a/b`.
std::string name_of(std::string_view text) {
  if (text.empty())
    return "^";
  if (text == ".")
    return "^2E";
  if (text == "..")
    return "^2E^2E";
  auto result = escaped(text);
  if (result.size() > longest_name)
    result =
        fmt::format("{}^~{}", result.substr(0, longest_name / 2), digest(text));
  return result;
}

// A host's folder never begins with a dot: such names are our own.
std::string folder_of(std::string_view host) {
  if (host.starts_with('.'))
    return fmt::format("^2E{}", name_of(host.substr(1)));
  return name_of(host);
}

} // namespace

place place_of(const std::string& url) {
  parsed from{url};
  auto host = from.get(CURLUPART_HOST).value_or("");
  for (auto& byte : host)
    byte = static_cast<char>(std::tolower(static_cast<unsigned char>(byte)));
  if (auto port = from.get(CURLUPART_PORT, CURLU_NO_DEFAULT_PORT))
    host += ":" + *port;
  auto path = from.get(CURLUPART_PATH).value_or("/");
  auto query = from.get(CURLUPART_QUERY);
  std::string names;
  std::string_view rest = path;
  // The path begins with a slash.
  rest.remove_prefix(1);
  for (auto slash = rest.find('/'); slash != std::string_view::npos;
       slash = rest.find('/')) {
    names += fmt::format("/{}", name_of(rest.substr(0, slash)));
    rest.remove_prefix(slash + 1);
  }
  std::string last{rest.empty() ? "index.html" : rest};
  names += fmt::format(
      "/{}", name_of(query ? fmt::format("{}?{}", last, *query) : last));
  auto folder = folder_of(host);
  if (folder.size() + names.size() > longest_path)
    names = fmt::format("/^~{}", digest(names));
  return {std::move(host), folder + names};
}

} // namespace mirror
