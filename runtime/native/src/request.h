// A request, and the plan that follows from it, as in runtime/request.py.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bundle.h"
#include "decoder_chain.h"

namespace arcmobile {

struct Request {
  std::string prompt;
  std::optional<double> seconds;  // of sound; default: the longest the bundle can make
  std::optional<int> steps;       // default: the bundle's
  std::optional<std::uint64_t> seed;
  std::map<std::string, double> numbers;  // other number inputs by name
};

// A request with every default filled in and every value in range.
struct Plan {
  std::size_t samples;            // per channel
  int frames;                     // of the latent, an exported count
  int frames_needed;              // latent frames that the result covers
  std::vector<PartPlan> decoder;  // its parts and windows
  std::vector<float> times;
  std::uint64_t seed;
  std::map<std::string, float> numbers;
  std::vector<std::string> warnings;
};

// The decoder's parts, in order, for a latent of `frames` frames. Throws Error where a part has no
// window that fits.
std::vector<PartPlan> plan_decoder(const Bundle& bundle, int frames);

// Throws Error naming the option and its range.
Plan make_plan(const Request& request, const Bundle& bundle);

}  // namespace arcmobile
