#include "troupe/error.hpp"

#include <cxxabi.h>

#include <cstdlib>
#include <typeinfo>

#include "troupe/final_failure.hpp"
#include "troupe/messages.hpp"

namespace troupe {

namespace {

std::string readable(const std::type_info& type) {
  int status = 0;
  std::unique_ptr<char, decltype(&std::free)> name{
      abi::__cxa_demangle(type.name(), nullptr, nullptr, &status), &std::free};
  return status == 0 ? std::string{name.get()} : std::string{type.name()};
}

// The type of the exception that is being handled, also if it does not derive
// from std::exception.
std::string current_type() {
  const std::type_info* type = abi::__cxa_current_exception_type();
  // That it was the last attempt concerns nobody who reads of it.
  if (type && *type == typeid(final_failure))
    type = &typeid(failure);
  return type ? readable(*type) : std::string{"unknown exception"};
}

void append_nested(std::string& text, const std::exception& outer) {
  try {
    std::rethrow_if_nested(outer);
  } catch (...) {
    text += "; because of ";
    text += describe(std::current_exception());
  }
}

std::string with_place(std::string text, const std::string& label,
                       std::string_view worker_name) {
  if (label.empty() && worker_name.empty())
    return text;
  text += " (";
  if (!label.empty()) {
    text += "request '" + label + '\'';
    if (!worker_name.empty())
      text += " on ";
  }
  if (!worker_name.empty()) {
    text += "worker ";
    text += worker_name;
  }
  text += ')';
  return text;
}

} // namespace

std::string_view to_string(ec code) noexcept {
  switch (code) {
  case ec::request_failed:
    return "request_failed";
  case ec::cancelled:
    return "cancelled";
  case ec::deadline_exceeded:
    return "deadline_exceeded";
  case ec::queue_full:
    return "queue_full";
  case ec::pool_stopped:
    return "pool_stopped";
  case ec::worker_lost:
    return "worker_lost";
  case ec::would_deadlock:
    return "would_deadlock";
  case ec::invalid_option:
    return "invalid_option";
  case ec::already_consumed:
    return "already_consumed";
  case ec::owner_gone:
    return "owner_gone";
  case ec::resource_unavailable:
    return "resource_unavailable";
  case ec::node_lost:
    return "node_lost";
  case ec::unknown_procedure:
    return "unknown_procedure";
  case ec::closed:
    return "closed";
  case ec::pool_stuck:
    return "pool_stuck";
  case ec::too_large:
    return "too_large";
  case ec::bad_message:
    return "bad_message";
  }
  return "unknown code";
}

// -- failure ------------------------------------------------------------------

struct failure::details {
  ec code;
  bool started;
  std::string label;
  int worker;
};

failure::failure(ec code, const std::string& text, bool started,
                 std::string label, int worker)
    : std::runtime_error{text},
      details_{std::make_shared<details>(
          details{code, started, std::move(label), worker})} {}

ec failure::code() const noexcept {
  return details_->code;
}

bool failure::started() const noexcept {
  return details_->started;
}

const std::string& failure::label() const noexcept {
  return details_->label;
}

int failure::worker() const noexcept {
  return details_->worker;
}

caf::error failure::to_error() const {
  return troupe::to_error(
      make_failure(code(), what(), started(), label(), worker()));
}

// -- records ------------------------------------------------------------------

failure_ptr make_failure(ec code, std::string text, bool started,
                         std::string label, int worker) {
  auto record = make_ref<failure_record>();
  record->code = code;
  record->text = with_place(std::move(text), label, {});
  record->started = started;
  record->label = std::move(label);
  record->worker = worker;
  record->attempts = started ? 1u : 0u;
  return record;
}

failure_ptr make_failure(std::exception_ptr exception, std::string label,
                         int worker, std::string_view worker_name,
                         unsigned attempts, std::string_view tags) {
  auto record = make_ref<failure_record>();
  auto& text = record->text;
  text = with_place(describe(exception), label, worker_name);
  if (attempts > 1)
    text += ", after " + std::to_string(attempts) + " attempts";
  text += tags;
  try {
    std::rethrow_exception(exception);
  } catch (const failure& err) {
    record->code = err.code();
  } catch (...) {
    // Every other type means that the request failed.
  }
  record->exception = std::move(exception);
  record->started = true;
  record->label = std::move(label);
  record->worker = worker;
  record->attempts = attempts;
  return record;
}

void rethrow(const failure_record& record) {
  if (record.exception)
    std::rethrow_exception(record.exception);
  throw failure{record.code, record.text, record.started, record.label,
                record.worker};
}

std::string describe(const std::exception_ptr& exception) {
  if (!exception)
    return "no exception";
  try {
    std::rethrow_exception(exception);
  } catch (const std::exception& err) {
    // A nested exception is thrown as a type that mixes both; its name would
    // only say so.
    std::string text = current_type();
    if (auto at = text.find("std::_Nested_exception<"); at == 0)
      text = text.substr(23, text.size() - 24);
    text += ": ";
    text += err.what();
    append_nested(text, err);
    return text;
  } catch (const std::string& err) {
    return "std::string: " + err;
  } catch (const char* err) {
    return std::string{"const char*: "} + err;
  } catch (int err) {
    return "int: " + std::to_string(err);
  } catch (...) {
    return current_type();
  }
}

// -- errors -------------------------------------------------------------------

caf::error to_error(const failure_ptr& record) {
  return caf::make_error(record->code, record->text, failure_box{record});
}

namespace {

const failure_box* find_box(const caf::error& error) {
  if (error == caf::none
      || !error.context().match_elements<std::string, failure_box>())
    return nullptr;
  return &error.context().get_as<failure_box>(1);
}

} // namespace

std::exception_ptr exception_of(const caf::error& error) {
  auto box = find_box(error);
  return box ? box->record->exception : nullptr;
}

failure_ptr failure_of(const caf::error& error) {
  if (auto box = find_box(error))
    return box->record;
  return make_failure(ec::request_failed, describe(error));
}

std::string describe(const caf::error& error) {
  if (auto box = find_box(error))
    return std::string{to_string(box->record->code)} + ": " + box->record->text;
  return caf::to_string(error);
}

namespace {

// In this file, because without it there is neither an error nor a message.
[[maybe_unused]] const bool types_are_registered =
    compat::register_types<caf::id_block::troupe>();

} // namespace

void register_messages(caf::actor_system_config& cfg) {
  compat::add_types<caf::id_block::troupe>(cfg);
  compat::watch_threads(cfg);
}

} // namespace troupe
