// Prompt to sound: conditioner, DiT, decoder, one stage in memory at a time; with its figures.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "bundle.h"
#include "engine.h"
#include "request.h"

namespace arcmobile {

// Seconds of wall time and bytes of one stage.
struct StageStats {
  std::string name;
  double load_seconds = 0;
  std::vector<double> calls;         // a DiT step, a chunk of sound with all windows it needed
  std::uint64_t peak_bytes = 0;      // resident, while the stage was in memory
  std::uint64_t bytes_after = 0;     // resident, after it was freed

  double compute_seconds() const;
};

struct GenerationStats {
  double tokenize_seconds = 0;
  std::vector<StageStats> stages;  // conditioner, dit, decoder
  std::uint64_t peak_bytes = 0;    // of all stages
  std::uint64_t samples = 0;       // per channel
  std::vector<std::string> warnings;

  double load_seconds() const;
  double compute_seconds() const;      // all but loading
  double total_seconds() const;
  double first_audio_seconds() const;  // until the first samples were there, loading included
};

struct GenerationOptions {
  LoadMode load_mode = LoadMode::mmap;
  bool cold = false;         // drop program files from the page cache before loading
  bool mark_stages = false;  // see stage_marks.h
  std::string trace_prefix;  // writes PREFIX.<component>.etdp; empty: none
};

// Called with a stage's name, parts done and parts in all; may throw Stopped.
using Progress = std::function<void(const char* stage, int done, int total)>;

// Receives the sound in chunks: channel c begins at audio + c * stride.
using Sink = std::function<void(const float* audio, std::size_t stride, std::size_t samples)>;

// Makes one sound. Throws Error or Stopped.
GenerationStats generate(const Bundle& bundle, const std::string& prompt, const Plan& plan,
                         const GenerationOptions& options, const Progress& progress,
                         const Sink& sink);

}  // namespace arcmobile
