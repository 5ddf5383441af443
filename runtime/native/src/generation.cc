#include "generation.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <memory>
#include <numeric>

#include "decoder_chain.h"
#include "names.h"
#include "process_memory.h"
#include "prompt_tokenizer.h"
#include "sampler.h"
#include "signals.h"
#include "stage_marks.h"

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

// A program of a stage: a component and which of its entries.
struct Program {
  const Component* component;
  const Entry* entry;
};

// The loaded programs of a stage, in order; each is freed with the stage, or before.
class LoadedPrograms {
 public:
  LoadedPrograms(const std::vector<Program>& programs, const GenerationOptions& options)
      : programs_(programs), options_(options) {
    const bool trace = !options.trace_prefix.empty();
    for (const Program& one : programs) {
      loaded_.push_back(std::make_unique<ComponentProgram>(*one.component, *one.entry,
                                                           options.load_mode, trace));
    }
  }

  ComponentProgram& operator[](std::size_t index) { return *loaded_[index]; }

  // Writes the program's trace, if any, and frees it. Throws Error.
  void free(std::size_t index) {
    if (!loaded_[index]) return;
    if (!options_.trace_prefix.empty()) {
      const std::string& name = programs_[index].component->name;
      loaded_[index]->write_trace(options_.trace_prefix + "." + name + ".etdp");
    }
    loaded_[index].reset();
  }

  void free_all() {
    for (std::size_t i = 0; i < loaded_.size(); ++i) free(i);
  }

 private:
  const std::vector<Program>& programs_;
  const GenerationOptions& options_;
  std::vector<std::unique_ptr<ComponentProgram>> loaded_;
};

class Generation {
 public:
  Generation(const Bundle& bundle, const Plan& plan, const GenerationOptions& options,
             const Progress& progress, const Sink& sink)
      : bundle_(bundle), plan_(plan), options_(options), progress_(progress), sink_(sink) {
    stats_.warnings = plan.warnings;
  }

  GenerationStats run(const std::string& prompt) {
    if (options_.cold) {
      drop_from_page_cache(bundle_.conditioner.path);
      drop_from_page_cache(bundle_.dit.path);
      for (const DecoderPart& part : bundle_.decoder) drop_from_page_cache(part.component.path);
    }
    const Inputs text = tokenize(prompt);
    Inputs dit_inputs{condition(text), {}};
    decode(sample(dit_inputs));
    blame_faults_on("");
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
    inputs.integers[names::input_ids] = std::move(tokens.input_ids);
    inputs.floats[names::attention_mask] = std::move(tokens.attention_mask);
    for (const auto& [name, value] : plan_.numbers) inputs.floats[name] = {value};
    return inputs;
  }

  // Loads the programs of a stage, hands them to `body`, frees them; notes time and memory.
  template <typename Body>
  void stage(const std::string& name, const std::vector<Program>& programs, const Body& body) {
    reset_peak();
    StageStats& stats = stats_.stages.emplace_back();
    stats.name = name;
    {
      mark("load " + name);
      const double begin = now();
      LoadedPrograms loaded(programs, options_);
      stats.load_seconds = now() - begin;
      mark(name);
      body(loaded, stats);
      loaded.free_all();
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
    stage(names::conditioner, {{&bundle_.conditioner, &bundle_.conditioner.entries.front()}},
          [&](LoadedPrograms& programs, StageStats& stats) {
            progress_(names::conditioner, 0, 1);
            conditioning = timed_run(programs[0], stats, inputs);
            progress_(names::conditioner, 1, 1);
          });
    return conditioning;
  }

  std::vector<float> sample(Inputs& inputs) {
    const auto size = static_cast<std::size_t>(bundle_.latent_channels) *
                      static_cast<std::size_t>(plan_.frames);
    std::vector<float> latent;
    stage(names::dit, {{&bundle_.dit, &bundle_.dit.entry_for(plan_.frames)}},
          [&](LoadedPrograms& programs, StageStats& stats) {
            progress_("DiT step", 0, static_cast<int>(plan_.times.size()) - 1);
            const auto velocity = [&](const std::vector<float>& x, float t) {
              inputs.floats[names::latent] = x;
              inputs.floats[names::timestep] = {t};
              return std::move(timed_run(programs[0], stats, inputs).at(names::velocity));
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

  void decode(std::vector<float> latent) {
    std::vector<Program> parts;
    for (std::size_t i = 0; i < bundle_.decoder.size(); ++i) {
      const Component& component = bundle_.decoder[i].component;
      parts.push_back({&component, &component.entry_for(plan_.decoder[i].window)});
    }
    stage(names::decoder, parts, [&](LoadedPrograms& programs, StageStats& stats) {
      double spent = 0;  // since the last chunk of sound; what the sink does is not counted
      const auto report = [&] {
        const auto per_frame = static_cast<std::size_t>(bundle_.samples_per_frame);
        const auto frames = static_cast<int>((stats_.samples + per_frame - 1) / per_frame);
        progress_("decoded frame", frames, plan_.frames_needed);
      };
      const auto run = [&](std::size_t part, std::vector<float>& window) {
        report();  // also between the windows of a chunk, so that Ctrl-C is heeded soon
        const Entry& entry = *parts[part].entry;
        Inputs inputs;
        std::vector<float>& input = inputs.floats[entry.inputs.front().name];
        input.swap(window);
        const double begin = now();
        Floats outputs = programs[part].run(inputs);
        spent += now() - begin;
        input.swap(window);
        return std::move(outputs.at(entry.outputs.front().name));
      };
      // The first parts have the most weights and are done early; their memory is free then.
      const auto free = [&](std::size_t part) { programs.free(part); };
      DecoderChain chain(std::move(latent), plan_.decoder, plan_.samples, run, free);
      while (const std::optional<Chunk> chunk = chain.next()) {
        stats.calls.push_back(spent);
        spent = 0;
        sink_(chunk->channel(0), chunk->stride, chunk->count);
        stats_.samples += chunk->count;
        report();
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
