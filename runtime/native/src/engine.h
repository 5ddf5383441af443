// Runs one program of a bundle with ExecuTorch. Load, run, drop it before the next.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"

namespace arcmobile {

enum class LoadMode { mmap, file };

// Tensors by name; int32 ones are held apart.
using Floats = std::map<std::string, std::vector<float>>;

struct Inputs {
  Floats floats;
  std::map<std::string, std::vector<std::int32_t>> integers;
};

// Sets the size of the process-wide thread pool; before the first program is loaded. Throws Error
// where so many threads cannot be started.
void set_thread_count(int threads);

// Version of the ExecuTorch libraries it was built with.
const char* executorch_version();

// Throws Error unless the file is a program whose entry is what the manifest says. Does not look
// inside the delegates.
void check_program(const Component& component, const Entry& entry);

class ComponentProgram {
 public:
  // Loads `entry` of a component and makes it ready to run. With `trace` the runs are recorded.
  // Throws Error where ExecuTorch refuses it or it is not what the manifest says.
  ComponentProgram(const Component& component, const Entry& entry, LoadMode mode, bool trace);
  ~ComponentProgram();

  // Runs it; takes every input of the manifest, gives every output. Throws Error.
  Floats run(const Inputs& inputs);

  // Writes what was recorded as an ETDump. Throws Error.
  void write_trace(const std::string& path);

 private:
  struct Loaded;
  const Entry& entry_;
  std::string path_;
  std::string where_;  // component.entry, for messages
  std::unique_ptr<Loaded> loaded_;
};

}  // namespace arcmobile
