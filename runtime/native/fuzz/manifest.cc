// Any text as a manifest: a bundle, or one Error of one line.
#include "manifest.h"

#include <cstdlib>

#include "errors.h"
#include "request.h"
#include "utf8.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace arcmobile;
  try {
    const Bundle bundle =
        read_manifest({reinterpret_cast<const char*>(data), size}, "bundle/manifest.json");
    make_plan(Request{"rain", {}, {}, 1, {}}, bundle);
  } catch (const Error& error) {
    if (on_one_line(error.what()).find('\n') != std::string::npos) std::abort();
  }
  return 0;
}
