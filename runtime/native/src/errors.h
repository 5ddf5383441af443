// The one error of the runner: a line that names the file or option and says how to mend it.
#pragma once

#include <stdexcept>
#include <string>

namespace arcmobile {

// A mistake the user can mend; what() is the line to show.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown between two steps after Ctrl-C.
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped"; }
};

}  // namespace arcmobile
