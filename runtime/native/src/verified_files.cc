#include "verified_files.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <vector>

#include "errors.h"
#include "file_descriptor.h"
#include "sha256.h"
#include "signals.h"

namespace arcmobile {
namespace {

constexpr std::size_t kPiece = std::size_t{1} << 20;
constexpr std::int64_t kSecond = 1'000'000'000;  // nanoseconds
// File times advance with the kernel's clock tick: a change right after the last one may not show.
constexpr std::int64_t kClockTick = kSecond / 50;

std::string variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// Empty where there is no place for it.
std::string stamp_folder() {
  std::string base = variable("ARCMOBILE_CACHE");
  if (base.empty()) {
    base = variable("XDG_CACHE_HOME");
    if (base.empty() && !variable("HOME").empty()) base = variable("HOME") + "/.cache";
    if (base.empty()) return "";
    base += "/arcmobile";
  }
  return base + "/verified";
}

std::int64_t nanoseconds(const struct timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * kSecond + time.tv_nsec;
}

// What the stamp of a file with this digest says while the file is as it is now.
std::string stamp_text(const struct stat& status, const std::string& digest) {
  std::string text = "arcmobile-verified-1";
  for (const std::string& field :
       {std::to_string(status.st_size), std::to_string(nanoseconds(status.st_mtim)),
        std::to_string(nanoseconds(status.st_ctim)), std::to_string(status.st_ino),
        std::to_string(status.st_dev), digest}) {
    text += " " + field;
  }
  return text + "\n";
}

bool says(const std::string& stamp, const std::string& text) {
  const FileDescriptor file(open(stamp.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!file) return false;
  std::string found(text.size() + 1, '\0');
  const ssize_t got = read(file.get(), found.data(), found.size());
  return got == static_cast<ssize_t>(text.size()) && found.compare(0, text.size(), text) == 0;
}

void write_stamp(const std::string& folder, const std::string& stamp, const std::string& text) {
  std::error_code ignored;
  std::filesystem::create_directories(folder, ignored);
  std::string partial = stamp + ".XXXXXX";
  FileDescriptor file(mkostemp(partial.data(), O_CLOEXEC));
  if (!file) return;
  const bool written =
      write(file.get(), text.data(), text.size()) == static_cast<ssize_t>(text.size());
  if (!file.reset() || !written || std::rename(partial.c_str(), stamp.c_str()) != 0) {
    unlink(partial.c_str());
  }
}

std::string digest_of(const FileDescriptor& file, const std::string& path) {
  Sha256 hash;
  std::vector<char> piece(kPiece);
  while (true) {
    if (stop_requested()) throw Stopped();
    const ssize_t got = read(file.get(), piece.data(), piece.size());
    if (got == 0) return hash.finish();
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(path + ": cannot be read (" + std::strerror(errno) + ")");
    hash.add({piece.data(), static_cast<std::size_t>(got)});
  }
}

bool is_settled(const struct stat& status) {
  struct timespec now {};
  clock_gettime(CLOCK_REALTIME, &now);
  return nanoseconds(now) - nanoseconds(status.st_ctim) > kClockTick;
}

}  // namespace

void verify_file(const std::string& path, const FileRecord& record) {
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  char real[PATH_MAX];
  if (!file || fstat(file.get(), &status) != 0 || realpath(path.c_str(), real) == nullptr) {
    throw Error(path + ": cannot be read (" + std::strerror(errno) + "); copy the file again");
  }
  const std::string folder = stamp_folder();
  const std::string stamp = folder + "/" + sha256_of(real);
  const std::string text = stamp_text(status, record.sha256);
  if (!folder.empty() && says(stamp, text)) return;

  const bool settled = is_settled(status);
  if (digest_of(file, path) != record.sha256) {
    throw Error(path + ": sha256 differs from the manifest; copy the file again or export the " +
                "bundle again");
  }
  // Not if it changed while it was read.
  struct stat after {};
  if (folder.empty() || !settled || fstat(file.get(), &after) != 0) return;
  if (stamp_text(after, record.sha256) == text) write_stamp(folder, stamp, text);
}

}  // namespace arcmobile
