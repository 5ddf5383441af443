#include "process_memory.h"

#include <sys/resource.h>

#include <fstream>
#include <string>

#if defined(__GLIBC__) || (defined(__ANDROID__) && __ANDROID_API__ >= 26)
#include <malloc.h>
#endif

namespace arcmobile {
namespace {

// A line such as "VmHWM:   12345 kB" of /proc/self/status; 0 where there is none.
std::uint64_t status_bytes(const std::string& key) {
  std::ifstream status("/proc/self/status");
  for (std::string word; status >> word;) {
    std::uint64_t kilobytes = 0;
    if (word == key && status >> kilobytes) return kilobytes * 1024;
  }
  return 0;
}

}  // namespace

bool reset_peak() {
  std::ofstream clear("/proc/self/clear_refs");
  clear << "5" << std::flush;  // see proc(5): resets VmHWM
  return clear.good();
}

std::uint64_t peak_bytes() {
  if (const std::uint64_t bytes = status_bytes("VmHWM:")) return bytes;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<std::uint64_t>(usage.ru_maxrss) * 1024;
}

std::uint64_t resident_bytes() { return status_bytes("VmRSS:"); }

void release_free_memory() {
#if defined(__GLIBC__)
  malloc_trim(0);
#elif defined(__ANDROID__) && __ANDROID_API__ >= 28
  mallopt(M_PURGE, 0);
#endif
}

}  // namespace arcmobile
