// Statistics of a generation as text for people and as JSON for the benchmark harness.
#pragma once

#include <string>
#include <vector>

#include "bundle.h"
#include "generation.h"
#include "request.h"

namespace arcmobile {

struct StatsContext {
  const Bundle& bundle;
  const Plan& plan;
  const GenerationStats& stats;
  std::string prompt;
  std::string file;  // empty: no sound file was written
  int threads;
  std::uint64_t clipped;
};

// Lines for the user.
std::vector<std::string> all_warnings(const StatsContext& context);

// The keys are those of `arcmobile generate --stats-json` and a few more; `stats_version` is 1.
std::string stats_json(const StatsContext& context);

std::string stats_text(const StatsContext& context);

}  // namespace arcmobile
