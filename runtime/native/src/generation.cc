#include "generation.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <numeric>

#include "decode_windows.h"
#include "errors.h"
#include "process_memory.h"
#include "sampler.h"
#include "stage_marks.h"
#include "tokenizer.h"

namespace arcmobile {
namespace {

double now() {
  using Clock = std::chrono::steady_clock;
  return std::chrono::duration<double>(Clock::now().time_since_epoch()).count();
}

// Asks the kernel to forget the file's cached pages, so that loading reads the disk.
void drop_from_page_cache(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return;
#if defined(POSIX_FADV_DONTNEED)
  posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
#endif
  close(file);
}

class Generation {
 public:
  Generation(const Bundle& bundle, const Plan& plan, const GenerationOptions& options,
             const Progress& progress, const Sink& sink)
      : bundle_(bundle), plan_(plan), options_(options), progress_(progress), sink_(sink) {
    stats_.warnings = plan.warnings;
  }

  GenerationStats run(const std::string& prompt) {
    if (options_.cold) {
      for (const auto* one : {&bundle_.conditioner, &bundle_.dit, &bundle_.decoder}) {
        drop_from_page_cache(one->path);
      }
    }
    const Inputs text = tokenize(prompt);
    Inputs dit_inputs{condition(text), {}};
    const std::vector<float> latent = sample(dit_inputs);
    decode(latent);
    mark("finish");
    return std::move(stats_);
  }

 private:
  void mark(const std::string& name) const {
    if (options_.mark_stages) mark_stage(name);
  }

  Inputs tokenize(const std::string& prompt) {
    mark("tokenize");
    const double begin = now();
    TokenizedPrompt tokens = PromptTokenizer(bundle_.tokenizer)(prompt);
    stats_.tokenize_seconds = now() - begin;
    if (!tokens.warning.empty()) stats_.warnings.push_back(tokens.warning);
    Inputs inputs;
    inputs.integers["input_ids"] = std::move(tokens.input_ids);
    inputs.floats["attention_mask"] = std::move(tokens.attention_mask);
    for (const auto& [name, value] : plan_.numbers) inputs.floats[name] = {value};
    return inputs;
  }

  // Loads a program, hands it to `body`, frees it; notes time and memory.
  template <typename Body>
  void stage(const Component& component, const Entry& entry, const Body& body) {
    reset_peak();
    StageStats& stats = stats_.stages.emplace_back();
    stats.name = component.name;
    {
      mark("load " + component.name);
      const double begin = now();
      ComponentProgram program(component, entry, options_.load_mode,
                               !options_.trace_prefix.empty());
      stats.load_seconds = now() - begin;
      mark(component.name);
      body(program, stats);
      if (!options_.trace_prefix.empty()) {
        program.write_trace(options_.trace_prefix + "." + component.name + ".etdp");
      }
    }
    stats.peak_bytes = peak_bytes();
    stats_.peak_bytes = std::max(stats_.peak_bytes, stats.peak_bytes);
    release_free_memory();
    stats.bytes_after = resident_bytes();
  }

  Floats timed_run(ComponentProgram& program, StageStats& stats, const Inputs& inputs) {
    const double begin = now();
    Floats outputs = program.run(inputs);
    stats.calls.push_back(now() - begin);
    return outputs;
  }

  Floats condition(const Inputs& inputs) {
    Floats conditioning;
    stage(bundle_.conditioner, bundle_.conditioner.entries.front(),
          [&](ComponentProgram& program, StageStats& stats) {
            progress_("conditioner", 0, 1);
            conditioning = timed_run(program, stats, inputs);
            progress_("conditioner", 1, 1);
          });
    return conditioning;
  }

  std::vector<float> sample(Inputs& inputs) {
    const auto size = static_cast<std::size_t>(bundle_.latent_channels) *
                      static_cast<std::size_t>(plan_.frames);
    std::vector<float> latent;
    stage(bundle_.dit, bundle_.dit.entry_for(plan_.frames),
          [&](ComponentProgram& program, StageStats& stats) {
            progress_("DiT step", 0, static_cast<int>(plan_.times.size()) - 1);
            const auto velocity = [&](const std::vector<float>& x, float t) {
              inputs.floats["latent"] = x;
              inputs.floats["timestep"] = {t};
              return std::move(timed_run(program, stats, inputs).at("velocity"));
            };
            const double begin = now();
            latent = pingpong(velocity, plan_.times, plan_.seed, size,
                              [&](int done, int total) { progress_("DiT step", done, total); });
            // The sampler's own share (noise, mixing) belongs to the stage: spread over its calls.
            const double rest = (now() - begin - stats.compute_seconds()) /
                                static_cast<double>(stats.calls.size());
            for (double& call : stats.calls) call += rest;
          });
    return latent;
  }

  void decode(const std::vector<float>& latent) {
    const Entry& entry = bundle_.decoder.entry_for(plan_.window);
    const auto channels = static_cast<std::size_t>(bundle_.latent_channels);
    const auto per_frame = static_cast<std::size_t>(bundle_.samples_per_frame);
    const auto stride = static_cast<std::size_t>(entry.outputs.front().shape[2]);
    const auto row = [&](const std::vector<float>& all, std::size_t c, int frame) {
      return all.begin() + static_cast<std::ptrdiff_t>(c) * plan_.frames + frame;
    };
    stage(bundle_.decoder, entry, [&](ComponentProgram& program, StageStats& stats) {
      progress_("decoded frame", 0, plan_.frames_needed);
      for (const Window& w : plan_windows(plan_.frames, plan_.window, bundle_.context_frames)) {
        if (w.keep_start >= plan_.frames_needed) break;
        Inputs inputs;
        auto& piece = inputs.floats["latent"];
        for (std::size_t c = 0; c < channels; ++c) {
          piece.insert(piece.end(), row(latent, c, w.start), row(latent, c, w.stop));
        }
        const auto audio = std::move(timed_run(program, stats, inputs).at("audio"));
        const std::size_t from = static_cast<std::size_t>(w.keep_start - w.start) * per_frame;
        const std::size_t to = static_cast<std::size_t>(w.keep_stop - w.start) * per_frame;
        if (to > stride && w.keep_stop != plan_.frames) {
          throw Error(bundle_.decoder.path + ": gives too few samples for its context; " +
                      "export the bundle again");
        }
        const std::size_t wanted = plan_.samples - stats_.samples;
        const std::size_t kept = std::min(wanted, std::min(to, stride) - from);
        sink_(audio.data() + from, stride, kept);
        stats_.samples += kept;
        progress_("decoded frame", std::min(w.keep_stop, plan_.frames_needed),
                  plan_.frames_needed);
      }
    });
  }

  const Bundle& bundle_;
  const Plan& plan_;
  const GenerationOptions& options_;
  const Progress& progress_;
  const Sink& sink_;
  GenerationStats stats_;
};

}  // namespace

double StageStats::compute_seconds() const {
  return std::accumulate(calls.begin(), calls.end(), 0.0);
}

double GenerationStats::load_seconds() const {
  double sum = 0;
  for (const auto& stage : stages) sum += stage.load_seconds;
  return sum;
}

double GenerationStats::compute_seconds() const {
  double sum = tokenize_seconds;
  for (const auto& stage : stages) sum += stage.compute_seconds();
  return sum;
}

double GenerationStats::total_seconds() const { return load_seconds() + compute_seconds(); }

double GenerationStats::first_audio_seconds() const {
  const StageStats& decoder = stages.back();
  return total_seconds() - decoder.compute_seconds() + decoder.calls.front();
}

GenerationStats generate(const Bundle& bundle, const std::string& prompt, const Plan& plan,
                         const GenerationOptions& options, const Progress& progress,
                         const Sink& sink) {
  return Generation(bundle, plan, options, progress, sink).run(prompt);
}

}  // namespace arcmobile
