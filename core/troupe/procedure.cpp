#include "troupe/procedure.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "troupe/dispatcher.hpp"

namespace troupe {

std::string procedure_info::text() const {
  return fmt::format("'{}', {}", name, signature);
}

compat::byte_buffer procedure_host::call(context&, const procedure_info& what,
                                         const compat::byte_buffer&) const {
  throw failure{ec::unknown_procedure,
                fmt::format("cannot call procedure {}: this pool calls its "
                            "procedures in this process only",
                            what.text())};
}

std::size_t procedure_host::call_many(context& ctx, const procedure_info& what,
                                      call_chunk& chunk) const {
  std::size_t made = 0;
  for (auto& x : chunk.calls) {
    if (made > 0 && ctx.stop_token().stop_requested())
      break;
    try {
      x.result = call(ctx, what, x.arguments);
    } catch (...) {
      x.failure = std::current_exception();
    }
    ++made;
    if (x.failure && chunk.stop_at_failure)
      break;
    chunk.done(made);
  }
  return made;
}

const procedure_host& host_of(const context& ctx, const procedure_info& what) {
  auto host = ctx.cell().home().procedures();
  if (host == nullptr)
    throw failure{
        ec::unknown_procedure,
        fmt::format("cannot call procedure {}: the pool '{}' has no "
                    "procedures; set pool_options::procedures, or use a "
                    "process_pool",
                    what.text(), ctx.cell().home().name())};
  return *host;
}

void throw_not_encodable(const procedure_info& what, const char* part) {
  throw failure{ec::bad_message,
                fmt::format("cannot encode the {} of procedure {}: an inspect "
                            "function refused",
                            part, what.text())};
}

void throw_not_decodable(std::string_view name, std::string_view types,
                         const char* part, std::size_t bytes) {
  throw failure{ec::bad_message,
                fmt::format("cannot decode the {} of procedure '{}': {} bytes "
                            "are not ({}); both sides must be built from the "
                            "same types",
                            part, name, bytes, types)};
}

// -- procedures ---------------------------------------------------------------

void procedures::insert(const procedure_info& what, procedure_entry entry) {
  auto [at, added] = entries_.emplace(what.name, std::move(entry));
  if (!added)
    throw failure{ec::invalid_option,
                  fmt::format("cannot add procedure {}: the name has a "
                              "function already, {}",
                              what.text(), at->second.signature)};
}

std::vector<std::string> procedures::names() const {
  std::vector<std::string> result;
  for (const auto& [name, entry] : entries_)
    result.push_back(name);
  return result;
}

const procedure_entry* procedures::find(std::string_view name) const {
  auto at = entries_.find(name);
  return at == entries_.end() ? nullptr : &at->second;
}

std::string procedures::why_not(std::string_view name) const {
  if (auto entry = find(name))
    return fmt::format("has it as {}", entry->signature);
  if (entries_.empty())
    return "has no procedures at all";
  return fmt::format("has only '{}'", fmt::join(names(), "', '"));
}

const procedure_entry* procedures::find(const context& ctx,
                                        const procedure_info& what) const {
  auto entry = find(what.name);
  if (entry == nullptr || entry->type != what.type)
    throw failure{ec::unknown_procedure,
                  fmt::format("the caller asks for procedure {}; the pool '{}' "
                              "{}",
                              what.text(), ctx.cell().home().name(),
                              why_not(what.name))};
  return entry;
}

} // namespace troupe
