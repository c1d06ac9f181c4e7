#include "troupe/remote_failure.hpp"

#include <utility>

#include <fmt/format.h>

namespace troupe {

struct remote_failure::origin {
  std::string type;
  std::string message;
  int pid;
  std::string node;
};

remote_failure::remote_failure(std::string type, std::string message, int pid,
                               std::string node)
    : failure{ec::request_failed,
              fmt::format("{}{}{} (in process {}{}{}{})", type,
                          message.empty() ? "" : ": ", message, pid,
                          node.empty() ? "" : " of node '", node,
                          node.empty() ? "" : "'"),
              true},
      origin_{std::make_shared<origin>(
          origin{std::move(type), std::move(message), pid, std::move(node)})} {}

const std::string& remote_failure::type_name() const noexcept {
  return origin_->type;
}

const std::string& remote_failure::message() const noexcept {
  return origin_->message;
}

int remote_failure::pid() const noexcept {
  return origin_->pid;
}

const std::string& remote_failure::node() const noexcept {
  return origin_->node;
}

} // namespace troupe
