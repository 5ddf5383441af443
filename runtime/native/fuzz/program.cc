// Any bytes as a program: it has the entry of seeds/program/linear.pte, or an Error.
#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

#include "engine.h"
#include "errors.h"
#include "file_descriptor.h"
#include "library_log.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace arcmobile;
  static const bool quiet = (take_library_log(false), true);
  const FileDescriptor file(memfd_create("program", MFD_CLOEXEC));
  if (!quiet || !file || write(file.get(), data, size) != static_cast<ssize_t>(size)) return 0;
  const Entry entry{"forward", 0, {{"x", {1, 4}, Dtype::float32}}, {{"y", {1, 4}, Dtype::float32}}};
  const Component component{"dit", "/proc/self/fd/" + std::to_string(file.get()), {entry}};
  try {
    check_program(component, entry);
  } catch (const Error&) {
  }
  return 0;
}
