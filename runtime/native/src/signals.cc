#include "signals.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstring>

#include "errors.h"
#include "utf8.h"

namespace arcmobile {
namespace {

constexpr int kFaults[] = {SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL};
constexpr std::size_t kSlots = 8;

// Read by signal handlers, so without locks and memory of the heap.
struct Slot {
  std::atomic<bool> used{false};
  std::array<char, PATH_MAX> path{};
};
std::array<Slot, kSlots> removed_at_once;
std::array<char, PATH_MAX + 128> fault_line;
std::atomic<bool> stop_asked{false};

void remove_files() {
  for (const Slot& slot : removed_at_once) {
    if (slot.used) unlink(slot.path.data());
  }
}

void say(const char* line) {
  if (write(STDERR_FILENO, line, std::strlen(line)) < 0) return;
}

void receive_stop(int) {
  if (!stop_asked.exchange(true)) return;
  remove_files();
  say("stopped\n");
  _exit(kStopped);
}

void receive_fault(int) {
  remove_files();
  say(fault_line.data());
  _exit(kMistake);
}

void install(int signal, void (*handler)(int), int flags) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  sigaction(signal, &action, nullptr);
}

bool is_ignored(int signal) {
  struct sigaction before {};
  return sigaction(signal, nullptr, &before) == 0 && before.sa_handler == SIG_IGN;
}

}  // namespace

void prepare_process() {
  // Else a file that is opened would get the number of a standard stream, and its output.
  for (const int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) {
    if (fcntl(stream, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0) return;
  }
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    // Without SA_RESTART, so that waiting for a pipe ends.
    if (!is_ignored(signal)) install(signal, receive_stop, 0);
  }
  for (const int signal : {SIGPIPE, SIGXFSZ}) install(signal, SIG_IGN, 0);
}

bool stop_requested() { return stop_asked; }

RemovedAtOnce::RemovedAtOnce(const std::string& path) : slot_(-1) {
  if (path.size() >= PATH_MAX) return;
  for (std::size_t i = 0; i < kSlots && slot_ < 0; ++i) {
    if (removed_at_once[i].used) continue;
    std::copy_n(path.c_str(), path.size() + 1, removed_at_once[i].path.data());
    removed_at_once[i].used = true;
    slot_ = static_cast<int>(i);
  }
}

RemovedAtOnce::~RemovedAtOnce() {
  if (slot_ >= 0) removed_at_once[static_cast<std::size_t>(slot_)].used = false;
}

void blame_faults_on(const std::string& path) {
  if (!path.empty()) {
    const std::string line = "error: " + on_one_line(path).substr(0, PATH_MAX) +
                             ": ExecuTorch failed on it; copy the file again or export the " +
                             "bundle again\n";
    std::copy_n(line.c_str(), line.size() + 1, fault_line.data());
  }
  for (const int fault : kFaults) {
    install(fault, path.empty() ? SIG_DFL : receive_fault, SA_RESETHAND);
  }
}

}  // namespace arcmobile
