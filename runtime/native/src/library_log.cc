#include "library_log.h"

#include <executorch/runtime/platform/platform.h>

#include <cstdio>
#include <mutex>

namespace arcmobile {
namespace {

std::mutex mutex;
std::string last_error;
bool verbose_log = false;

void receive(et_timestamp_t, et_pal_log_level_t level, const char* file, const char*,
             std::size_t line, const char* message, std::size_t length) {
  const std::lock_guard<std::mutex> lock(mutex);
  const std::string text(message, length);
  if (level == kError || level == kFatal) last_error = text;
  if (verbose_log) {
    std::fprintf(stderr, "%c executorch %s:%zu %s\n", static_cast<char>(level), file, line,
                 text.c_str());
  }
}

}  // namespace

void take_library_log(bool verbose) {
  verbose_log = verbose;
  executorch::runtime::register_pal(executorch::runtime::PalImpl::create(receive, __FILE__));
}

std::string last_library_error(const std::string& otherwise) {
  const std::lock_guard<std::mutex> lock(mutex);
  std::string line = last_error.empty() ? otherwise : last_error;
  for (char& c : line) {
    if (c == '\n' || c == '\r') c = ' ';
  }
  return line;
}

}  // namespace arcmobile
