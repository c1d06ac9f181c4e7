// Certificates for tests, as demos/certificates makes them.

#pragma once

#include <cstdlib>
#include <stdexcept>
#include <string>
#include <vector>

#include "gate_folder.hpp"
#include "programs.hpp"

#include "troupe/node_network.hpp"

namespace test {

/// Returns whether a command succeeds; what it says goes nowhere.
inline bool runs(const std::string& command) {
  return std::system(("(" + command + ") >/dev/null 2>&1").c_str()) == 0;
}

/// What an authority has made.
class authority {
public:
  authority() {
    if (!runs(std::string{TROUPE_CERTIFICATES} + ' ' + folder_.path()))
      throw std::runtime_error{"demos/certificates has failed"};
  }

  std::string file(const std::string& name) const { return folder_.file(name); }

  troupe::tls_files pool() const {
    return {file("pool.pem"), file("pool.key"), file("ca.pem")};
  }

  troupe::tls_files node() const {
    return {file("node.pem"), file("node.key"), file("ca.pem")};
  }

private:
  gate_folder folder_;
};

/// Returns the one of this process, since keys take their time.
inline const authority& our_authority() {
  static authority instance;
  return instance;
}

inline std::vector<std::string> as_arguments(const troupe::tls_files& files) {
  return {"--cert", files.certificate, "--key", files.key, "--ca", files.ca};
}

} // namespace test
