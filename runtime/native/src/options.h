// The command line.
#pragma once

#include <string>

#include "generation.h"
#include "request.h"
#include "wav_writer.h"

namespace CLI {
class App;
}

namespace arcmobile {

struct Options {
  std::string bundle;
  Request request;
  std::string out;  // empty: no sound file
  bool overwrite = false;
  SampleFormat format = SampleFormat::pcm16;
  int threads = 0;  // 0: all CPUs
  std::string stats = "none";
  std::string stats_file;
  GenerationOptions generation;
  bool quiet = false;
  bool verbose = false;
};

// Throws Error for values that are not what their option takes, and exceptions of CLI11 for
// everything else; `app` has to outlive those.
Options parse_command_line(CLI::App& app, int argc, char** argv);

}  // namespace arcmobile
