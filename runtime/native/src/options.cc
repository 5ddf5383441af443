#include "options.h"

#include <CLI/CLI.hpp>
#include <charconv>
#include <cstdlib>
#include <map>

#include "bounds.h"
#include "cpu_description.h"
#include "engine.h"
#include "errors.h"

namespace arcmobile {
namespace {

constexpr const char* kExamples =
    "Examples:\n"
    "  arcmobile-run bundle \"soft rain, distant thunder\" --seed 1 --out rain.wav\n"
    "  arcmobile-run bundle \"128 BPM drum loop\" --seconds 4 --threads 4 --stats text\n"
    "Without --out no file is written; see --stats.";

// Numbers as they were written: the library also takes hexadecimal ones, and "-1" for a very large
// one.
struct Texts {
  std::string seconds, steps, seed, threads;
  std::vector<std::string> numbers;
};

void declare(CLI::App& app, Options& options, Texts& texts) {
  app.footer(kExamples);
  app.set_version_flag("--version", "arcmobile-run " ARCMOBILE_VERSION " (ExecuTorch " +
                                        std::string(executorch_version()) + ", " + abi_name() +
                                        ")");
  app.add_option("bundle", options.bundle, "Folder of an exported bundle")->required();
  app.add_option("prompt", options.request.prompt, "Description of the sound")->required();
  app.add_option("-o,--out", options.out, "WAV file to write, NAME.wav");
  app.add_flag("--overwrite", options.overwrite, "Replace a file that exists");
  app.add_option("--seconds", texts.seconds, "Length; default: the bundle's longest")
      ->type_name("SECONDS");
  app.add_option("--steps", texts.steps, "Sampler steps, 1 to 64; default: the bundle's")
      ->type_name("COUNT");
  app.add_option("--seed", texts.seed, "The same seed gives the same sound; default: random")
      ->type_name("INTEGER");
  app.add_option("--number", texts.numbers, "Other number inputs of the model, NAME=VALUE")
      ->allow_extra_args(false);
  app.add_option("--threads", texts.threads, "Threads, 1 to 1024; default: all CPUs")
      ->type_name("COUNT");
  const std::map<std::string, SampleFormat> formats{{"pcm16", SampleFormat::pcm16},
                                                    {"float", SampleFormat::float32}};
  app.add_option("--format", options.format, "Samples of the WAV file: pcm16 or float")
      ->transform(CLI::CheckedTransformer(formats, CLI::ignore_case).description("{pcm16,float}"));
  app.add_option("--stats", options.stats, "Statistics on standard output")
      ->check(CLI::IsMember({"none", "text", "json"}));
  app.add_option("--stats-file", options.stats_file, "Statistics as JSON in this file");
  const std::map<std::string, LoadMode> modes{{"mmap", LoadMode::mmap}, {"file", LoadMode::file}};
  app.add_option("--load", options.generation.load_mode,
                 "Map program files into memory, or read them")
      ->transform(CLI::CheckedTransformer(modes, CLI::ignore_case).description("{mmap,file}"));
  app.add_flag("--cold", options.generation.cold, "Load from disk, not from the page cache");
  app.add_flag("--mark-stages", options.generation.mark_stages,
               "Announce stages to an instruction-counting emulator");
  app.add_option("--etdump", options.generation.trace_prefix,
                 "Write operator traces, PREFIX.<component>.etdp");
  app.add_flag("-q,--quiet", options.quiet, "Show no progress");
  app.add_flag("-v,--verbose", options.verbose, "Show ExecuTorch's own messages");
}

// Decimal digits alone, with a minus at most.
template <typename Integer>
Integer read_integer(const std::string& option, const std::string& text, Integer least,
                     Integer most) {
  const char* const end = text.data() + text.size();
  Integer value = 0;
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < least || value > most) {
    throw Error(option + " " + text + ": give " + std::to_string(least) + " to " +
                std::to_string(most));
  }
  return value;
}

// A decimal number such as 4, .5, 1e-3, and the words inf and nan, which are out of every range.
double read_number(const std::string& option, const std::string& text) {
  const bool word = text == "inf" || text == "-inf" || text == "nan";
  const bool decimal = text.find_first_not_of("0123456789.eE+-") == std::string::npos &&
                       text.find_first_of("0123456789") != std::string::npos && text[0] != '+';
  char* stop = nullptr;
  const double value = std::strtod(text.c_str(), &stop);
  if ((!word && !decimal) || *stop != '\0') {
    throw Error(option + " " + text + ": give a decimal number");
  }
  return value;
}

std::map<std::string, double> read_numbers(const std::vector<std::string>& texts) {
  std::map<std::string, double> numbers;
  for (const std::string& text : texts) {
    const auto equals = text.find('=');
    if (equals == std::string::npos) throw Error("--number " + text + ": give NAME=VALUE");
    const std::string name = text.substr(0, equals);
    const double value = read_number("--number", text.substr(equals + 1));
    if (!numbers.emplace(name, value).second) {
      throw Error("--number " + text + ": " + name + " is given twice; give it once");
    }
  }
  return numbers;
}

}  // namespace

Options parse_command_line(CLI::App& app, int argc, char** argv) {
  Options options;
  Texts texts;
  declare(app, options, texts);
  app.parse(argc, argv);
  if (app.count("--seconds") > 0) {
    options.request.seconds = read_number("--seconds", texts.seconds);
  }
  if (app.count("--steps") > 0) {
    options.request.steps =
        read_integer<int>("--steps", texts.steps, 1, static_cast<int>(bounds::steps));
  }
  if (app.count("--seed") > 0) {
    options.request.seed = read_integer<std::uint64_t>("--seed", texts.seed, 0, UINT64_MAX);
  }
  if (app.count("--threads") > 0) {
    options.threads =
        read_integer<int>("--threads", texts.threads, 1, static_cast<int>(bounds::threads));
  }
  options.request.numbers = read_numbers(texts.numbers);
  if (!options.out.empty() && options.out == options.stats_file) {
    throw Error("--stats-file " + options.out + ": is the file of --out; choose another one");
  }
  return options;
}

}  // namespace arcmobile
