// The one error of the runner: a line that names the file or option and the way out.
#pragma once

#include <stdexcept>
#include <string>

namespace arcmobile {

// Exit codes, those of the Python command.
inline constexpr int kMistake = 2;
inline constexpr int kStopped = 130;

// A mistake that the user can correct; what() is the line to show.
class Error : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Thrown between two steps after a signal.
class Stopped : public std::exception {
 public:
  const char* what() const noexcept override { return "stopped"; }
};

}  // namespace arcmobile
