#include "stats_report.h"

#include <cstdio>
#include <nlohmann/json.hpp>

#include "cpu_description.h"
#include "engine.h"

namespace arcmobile {
namespace {

using Json = nlohmann::ordered_json;

double audio_seconds(const StatsContext& context) {
  return static_cast<double>(context.stats.samples) / context.bundle.sample_rate;
}

// Frames of each part's windows, in order.
std::vector<int> decoder_windows(const Plan& plan) {
  std::vector<int> windows;
  for (const PartPlan& part : plan.decoder) windows.push_back(part.window);
  return windows;
}

}  // namespace

std::vector<std::string> all_warnings(const StatsContext& context) {
  auto warnings = context.stats.warnings;
  if (context.clipped > 0) {
    warnings.push_back(std::to_string(context.clipped) +
                       " samples were beyond full scale and clipped; --format float keeps them");
  }
  return warnings;
}

std::string stats_json(const StatsContext& context) {
  const GenerationStats& stats = context.stats;
  const CpuDescription cpu = describe_cpu();
  Json load, peak, after;
  for (const StageStats& stage : stats.stages) {
    load[stage.name] = stage.load_seconds;
    peak[stage.name] = stage.peak_bytes;
    after[stage.name] = stage.bytes_after;
  }
  const double seconds = audio_seconds(context);
  const Json record = {
      {"stats_version", 1},
      {"runner",
       {{"version", ARCMOBILE_VERSION}, {"executorch", executorch_version()}, {"abi", abi_name()}}},
      {"cpu", {{"name", cpu.name}, {"features", cpu.features}, {"cores", cpu.cores}}},
      {"file", context.file.empty() ? Json(nullptr) : Json(context.file)},
      {"prompt", context.prompt},
      {"seed", context.plan.seed},
      {"model", context.bundle.model_id},
      {"recipe", context.bundle.recipe},
      {"backend", context.bundle.backend},
      {"threads", context.threads},
      {"steps", context.plan.times.size() - 1},
      {"frames", context.plan.frames},
      {"decoder_windows", decoder_windows(context.plan)},
      {"seconds", seconds},
      {"sample_rate", context.bundle.sample_rate},
      {"load_seconds", load},
      {"tokenize_seconds", stats.tokenize_seconds},
      {"conditioner_seconds", stats.stages[0].compute_seconds()},
      {"encoder_seconds", 0.0},
      {"dit_step_seconds", stats.stages[1].calls},
      {"decode_window_seconds", stats.stages[2].calls},
      {"first_audio_seconds", stats.first_audio_seconds()},
      {"compute_seconds", stats.compute_seconds()},
      {"total_seconds", stats.total_seconds()},
      {"rtf", stats.compute_seconds() / seconds},
      {"peak_memory_bytes", peak},
      {"process_peak_bytes", stats.peak_bytes},
      {"resident_after_bytes", after},
      {"clipped_samples", context.clipped},
      {"warnings", all_warnings(context)},
  };
  return record.dump(1, ' ', false, Json::error_handler_t::replace) + "\n";
}

std::string stats_text(const StatsContext& context) {
  const GenerationStats& stats = context.stats;
  std::string text = "stage          load s  compute s  calls  peak MB  after MB\n";
  char line[160];
  for (const StageStats& stage : stats.stages) {
    std::snprintf(line, sizeof line, "%-12s %8.3f %10.3f %6zu %8.0f %9.0f\n", stage.name.c_str(),
                  stage.load_seconds, stage.compute_seconds(), stage.calls.size(),
                  static_cast<double>(stage.peak_bytes) / 1e6,
                  static_cast<double>(stage.bytes_after) / 1e6);
    text += line;
  }
  std::snprintf(line, sizeof line, "%-12s %8.3f %10.3f        %8.0f\n", "all", stats.load_seconds(),
                stats.compute_seconds(), static_cast<double>(stats.peak_bytes) / 1e6);
  text += line;
  std::snprintf(line, sizeof line,
                "%.1f s of sound in %.2f s with %d threads, first audio after %.2f s, RTF %.3f\n",
                audio_seconds(context), stats.total_seconds(), context.threads,
                stats.first_audio_seconds(), stats.compute_seconds() / audio_seconds(context));
  return text + line;
}

}  // namespace arcmobile
