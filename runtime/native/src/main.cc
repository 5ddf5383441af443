// arcmobile-run: prompt to sound with an exported bundle, and the figures of it.
//
// Exit codes as of the Python command: 0 done, 2 a mistake the user can mend, 130 stopped.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <charconv>
#include <csignal>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <memory>

#include "bundle.h"
#include "cpu_description.h"
#include "engine.h"
#include "errors.h"
#include "generation.h"
#include "library_log.h"
#include "stats_report.h"
#include "wav_writer.h"

namespace arcmobile {
namespace {

constexpr int kMistake = 2;
constexpr int kStopped = 130;

volatile std::sig_atomic_t stop_asked = 0;

struct Options {
  std::string bundle;
  Request request;
  std::vector<std::string> numbers;
  std::string seed;
  std::string out;
  bool overwrite = false;
  SampleFormat format = SampleFormat::pcm16;
  int threads = 0;
  std::string stats = "none";
  std::string stats_file;
  GenerationOptions generation;
  bool quiet = false;
  bool verbose = false;
};

constexpr const char* kExamples =
    "Examples:\n"
    "  arcmobile-run bundle \"soft rain, distant thunder\" --seed 1 --out rain.wav\n"
    "  arcmobile-run bundle \"128 BPM drum loop\" --seconds 4 --threads 4 --stats text\n"
    "Without --out nothing but the figures is made.";

void declare(CLI::App& app, Options& options) {
  app.footer(kExamples);
  app.set_version_flag("--version", "arcmobile-run " ARCMOBILE_VERSION " (ExecuTorch " +
                                        std::string(executorch_version()) + ", " + abi_name() +
                                        ")");
  app.add_option("bundle", options.bundle, "Folder of an exported bundle")->required();
  app.add_option("prompt", options.request.prompt, "What to hear")->required();
  app.add_option("-o,--out", options.out, "WAV file to write");
  app.add_flag("--overwrite", options.overwrite, "Replace a file that exists");
  app.add_option("--seconds", options.request.seconds, "Length; default: the bundle's longest");
  app.add_option("--steps", options.request.steps, "Sampler steps, 1 to 64; default: the bundle's");
  app.add_option("--seed", options.seed, "Same seed, same sound; default: a new one");
  app.add_option("--number", options.numbers, "Other number inputs of the model, NAME=VALUE")
      ->allow_extra_args(false);
  app.add_option("--threads", options.threads, "Threads; default: all CPUs")
      ->check(CLI::Range(1, 1024));
  const std::map<std::string, SampleFormat> formats{{"pcm16", SampleFormat::pcm16},
                                                    {"float", SampleFormat::float32}};
  app.add_option("--format", options.format, "Samples of the WAV file: pcm16 or float")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case).description("{pcm16,float}"));
  app.add_option("--stats", options.stats, "Figures on standard output")
      ->check(CLI::IsMember({"none", "text", "json"}));
  app.add_option("--stats-file", options.stats_file, "Figures as JSON into this file");
  const std::map<std::string, LoadMode> modes{{"mmap", LoadMode::mmap}, {"file", LoadMode::file}};
  app.add_option("--load", options.generation.load_mode, "Map program files, or read them")
      ->transform(CLI::CheckedTransformer(modes, CLI::ignore_case).description("{mmap,file}"));
  app.add_flag("--cold", options.generation.cold, "Load from disk, not from the page cache");
  app.add_flag("--mark-stages", options.generation.mark_stages,
               "Announce stages to an instruction-counting emulator");
  app.add_option("--etdump", options.generation.trace_prefix,
                 "Write operator traces, PREFIX.<component>.etdp");
  app.add_flag("-q,--quiet", options.quiet, "No progress");
  app.add_flag("-v,--verbose", options.verbose, "Show ExecuTorch's own messages");
}

void read_numbers(Options& options) {
  for (const std::string& text : options.numbers) {
    const auto equals = text.find('=');
    double value = 0;
    if (equals == std::string::npos ||
        !CLI::detail::lexical_cast(text.substr(equals + 1), value)) {
      throw Error("--number " + text + ": give NAME=VALUE");
    }
    options.request.numbers[text.substr(0, equals)] = value;
  }
}

// By hand, because the library takes "-1" for a very large number.
void read_seed(Options& options) {
  const char* end = options.seed.data() + options.seed.size();
  std::uint64_t seed = 0;
  const auto [stop, error] = std::from_chars(options.seed.data(), end, seed);
  if (error != std::errc() || stop != end) {
    throw Error("--seed " + options.seed + ": give 0 to 18446744073709551615");
  }
  options.request.seed = seed;
}

// One line that is written over; silent where nobody looks.
class ProgressLine {
 public:
  explicit ProgressLine(bool shown) : shown_(shown && isatty(STDERR_FILENO) != 0) {}
  ~ProgressLine() {
    if (shown_) std::fputs("\r\033[K", stderr);
  }
  void show(const char* stage, int done, int total) const {
    if (shown_) std::fprintf(stderr, "\r\033[K%s %d of %d", stage, done, total);
  }

 private:
  bool shown_;
};

void write_text(const std::string& path, const std::string& text) {
  const std::string partial = path + ".partial-" + std::to_string(getpid());
  std::ofstream file(partial, std::ios::binary);
  file << text << std::flush;
  const bool written = file.good();
  file.close();
  if (!written || std::rename(partial.c_str(), path.c_str()) != 0) {
    std::remove(partial.c_str());
    throw Error("--stats-file " + path + ": cannot be written; choose another file");
  }
}

void run(Options& options) {
  read_numbers(options);
  if (!options.seed.empty()) read_seed(options);
  const Bundle bundle = open_bundle(options.bundle);
  const Plan plan = make_plan(options.request, bundle);
  const int threads = options.threads > 0 ? options.threads : describe_cpu().cores;
  std::unique_ptr<WavWriter> writer;
  if (!options.out.empty()) {
    writer = std::make_unique<WavWriter>(options.out, bundle.sample_rate, bundle.channels,
                                         options.format, options.overwrite);
  }
  take_library_log(options.verbose);
  set_thread_count(threads);
  GenerationStats stats;
  {
    const ProgressLine line(!options.quiet);
    stats = generate(
        bundle, options.request.prompt, plan, options.generation,
        [&](const char* stage, int done, int total) {
          if (stop_asked) throw Stopped();
          line.show(stage, done, total);
        },
        [&](const float* audio, std::size_t stride, std::size_t samples) {
          if (writer) writer->write(audio, stride, samples);
        });
  }
  if (writer) writer->finish();
  const StatsContext context{bundle,      plan,    stats, options.request.prompt,
                             options.out, threads, writer ? writer->clipped() : 0};
  for (const auto& warning : stats.warnings) std::fprintf(stderr, "note: %s\n", warning.c_str());
  if (!options.stats_file.empty()) write_text(options.stats_file, stats_json(context));
  if (options.stats == "json") std::cout << stats_json(context) << std::flush;
  if (options.stats == "text") std::cout << stats_text(context) << std::flush;
  if (options.stats == "none" && writer && !options.quiet) {
    std::printf("%s  (seed %llu)\n", options.out.c_str(),
                static_cast<unsigned long long>(plan.seed));
  }
  if (std::cout.fail()) throw Error("standard output cannot be written");
}

}  // namespace
}  // namespace arcmobile

int main(int argc, char** argv) {
  using namespace arcmobile;
  std::signal(SIGINT, [](int) { stop_asked = 1; });
  std::signal(SIGTERM, [](int) { stop_asked = 1; });
  Options options;
  CLI::App app("Prompt to sound with an ExecuTorch bundle.", "arcmobile-run");
  declare(app, options);
  try {
    app.parse(argc, argv);
    run(options);
    return 0;
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    std::fprintf(stderr, "error: %s; see arcmobile-run --help\n", error.what());
  } catch (const Error& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  } catch (const Stopped&) {
    std::fputs("stopped\n", stderr);
    return kStopped;
  } catch (const std::bad_alloc&) {
    std::fputs("error: not enough memory; close other programs or use a smaller recipe\n", stderr);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
  }
  return kMistake;
}
