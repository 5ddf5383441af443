// How a run ends early: by a signal, or by a fault inside ExecuTorch.
#pragma once

#include <string>

namespace arcmobile {

// SIGINT, SIGTERM and SIGHUP ask for a stop, the second one of them ends the process at once; those
// that were ignored stay so. A write to a closed pipe or beyond the file size limit fails instead
// of ending the process. Closed standard streams are opened on /dev/null.
void prepare_process();

// Whether a signal asked for a stop: long computations check it and throw Stopped.
bool stop_requested();

// While it lives, the file is removed when the process ends without unwinding. At most a few at a
// time; further ones are not removed.
class RemovedAtOnce {
 public:
  explicit RemovedAtOnce(const std::string& path);
  ~RemovedAtOnce();
  RemovedAtOnce(const RemovedAtOnce&) = delete;
  RemovedAtOnce& operator=(const RemovedAtOnce&) = delete;

 private:
  int slot_;
};

// From now on a fault (SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL) ends the process with a line about
// `path` and exit code 2; an empty path leaves faults to the system again. ExecuTorch trusts what is
// inside a program: one that is broken, or cut while it is mapped, must not look like a crash of
// the runner.
void blame_faults_on(const std::string& path);

}  // namespace arcmobile
