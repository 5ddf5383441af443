// Default options of the sanitizers; the environment may override them.
#include <sanitizer/asan_interface.h>

// ExecuTorch registers its backends and kernels for good. The exit code is none of the runner's.
// A broken program may ask for more memory than there is: that has to fail as it does elsewhere.
extern "C" const char* __asan_default_options() {
  return "detect_leaks=0:allocator_may_return_null=1:exitcode=77";
}
extern "C" const char* __ubsan_default_options() { return "print_stacktrace=1:exitcode=77"; }
