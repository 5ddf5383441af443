// arcmobile-run: prompt to sound with an exported bundle, with statistics.
//
// Exit codes as of the Python command: 0 done, 2 a mistake that the user can correct, 130 stopped.

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <iostream>
#include <optional>

#include "bundle.h"
#include "cpu_description.h"
#include "engine.h"
#include "errors.h"
#include "generation.h"
#include "library_log.h"
#include "options.h"
#include "signals.h"
#include "stats_report.h"
#include "utf8.h"
#include "wav_writer.h"
#include "whole_file.h"

namespace arcmobile {
namespace {

// One line that is overwritten; silent where standard error is not a terminal.
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

void print_line(const char* kind, const std::string& text) {
  std::fprintf(stderr, "%s: %s\n", kind, on_one_line(text).c_str());
}

void write_text(const std::string& path, const std::string& text) {
  WholeFile file(path, true, "--stats-file");
  file.append(text);
  file.finish();
}

void run(const Options& options) {
  const Bundle bundle = open_bundle(options.bundle);
  const Plan plan = make_plan(options.request, bundle);
  const int threads = options.threads > 0 ? options.threads : describe_cpu().cores;
  std::optional<WavWriter> writer;
  if (!options.out.empty()) {
    writer.emplace(options.out, bundle.sample_rate, bundle.channels, options.format, plan.samples,
                   options.overwrite);
  }
  take_library_log(options.verbose);
  set_thread_count(threads);
  GenerationStats stats;
  {
    const ProgressLine line(!options.quiet);
    stats = generate(
        bundle, options.request.prompt, plan, options.generation,
        [&](const char* stage, int done, int total) {
          if (stop_requested()) throw Stopped();
          line.show(stage, done, total);
        },
        [&](const float* audio, std::size_t stride, std::size_t samples) {
          if (writer) writer->write(audio, stride, samples);
        });
  }
  if (writer) writer->finish();
  const StatsContext context{bundle,      plan,    stats, options.request.prompt,
                             options.out, threads, writer ? writer->clipped() : 0};
  for (const auto& warning : all_warnings(context)) print_line("note", warning);
  if (!options.stats_file.empty()) write_text(options.stats_file, stats_json(context));
  if (options.stats == "json") std::cout << stats_json(context);
  if (options.stats == "text") std::cout << stats_text(context);
  if (options.stats == "none" && writer && !options.quiet) {
    std::cout << on_one_line(options.out) << "  (seed " << plan.seed << ")\n";
  }
  if (!std::cout.flush()) throw Error("standard output cannot be written");
}

}  // namespace
}  // namespace arcmobile

int main(int argc, char** argv) {
  using namespace arcmobile;
  prepare_process();
  CLI::App app("Prompt to sound with an ExecuTorch bundle.", "arcmobile-run");
  try {
    run(parse_command_line(app, argc, argv));
    return 0;
  } catch (const CLI::Success& asked) {  // --help, --version
    return app.exit(asked);
  } catch (const CLI::ParseError& error) {
    print_line("error", std::string(error.what()) + "; see arcmobile-run --help");
  } catch (const Error& error) {
    print_line("error", error.what());
  } catch (const Stopped&) {
    std::fputs("stopped\n", stderr);
    return kStopped;
  } catch (const std::bad_alloc&) {
    print_line("error", "not enough memory; close other programs or use a smaller recipe");
  } catch (const std::exception& error) {
    print_line("error", error.what());
  }
  return kMistake;
}
