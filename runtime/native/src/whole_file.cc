#include "whole_file.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>

#include "errors.h"
#include "sha256.h"

namespace arcmobile {
namespace {

constexpr const char* kPartial = ".arcmobile-partial";
constexpr const char* kOld = ".arcmobile-old";
constexpr const char* kShortened = "~";
constexpr std::size_t kLongestName = 255;  // bytes, on every file system of today
// A sweep of another process holds a lock for an instant; a writer holds it for long.
constexpr int kAttempts = 12;
constexpr int kPauseMicroseconds = 20'000;
constexpr int kMostLinks = 40;

std::string folder_of(const std::string& path) {
  const auto slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

std::string name_of(const std::string& path) { return path.substr(path.rfind('/') + 1); }

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() &&
         text.compare(text.size() - end.size(), end.size(), end) == 0;
}

bool is_number(const std::string& text) {
  return !text.empty() && text.size() < 8 &&
         text.find_first_not_of("0123456789") == std::string::npos;
}

// Our own descriptor that a path such as /dev/stdout leads to, or -1.
int descriptor_of(std::string path) {
  const std::string own = "/proc/" + std::to_string(getpid()) + "/fd";
  std::error_code error;
  for (int links = 0; links < kMostLinks; ++links) {
    const auto folder = std::filesystem::canonical(folder_of(path), error);
    if (error) return -1;
    if (folder == own && is_number(name_of(path))) return std::atoi(name_of(path).c_str());
    const auto target = std::filesystem::read_symlink(path, error);
    if (error) return -1;
    path = target.is_absolute() ? target.string() : folder_of(path) + target.string();
  }
  return -1;
}

// A device, pipe or socket, or one of our descriptors.
bool is_written_into(const std::string& path) {
  struct stat status {};
  const bool special = stat(path.c_str(), &status) == 0 && !S_ISREG(status.st_mode) &&
                       !S_ISDIR(status.st_mode);
  return special || descriptor_of(path) >= 0;
}

// The file that a link leads to.
std::string link_target(const std::string& path) {
  struct stat status {};
  char real[PATH_MAX];
  const bool is_link = lstat(path.c_str(), &status) == 0 && S_ISLNK(status.st_mode);
  return is_link && realpath(path.c_str(), real) != nullptr ? real : path;
}

// The hidden name beside a file; a digest stands in for a name that is too long.
std::string partial_of(const std::string& path) {
  const std::string name = name_of(path);
  const std::string folder = path.substr(0, path.size() - name.size());
  const std::string partial = "." + name + kPartial;
  if (partial.size() <= kLongestName) return folder + partial;
  return folder + "." + kShortened + sha256_of(name).substr(0, 32) + kPartial;
}

// Whether the path still names the open file.
bool is_same(const FileDescriptor& file, const std::string& path) {
  struct stat here {}, there {};
  return fstat(file.get(), &here) == 0 && lstat(path.c_str(), &there) == 0 &&
         here.st_ino == there.st_ino && here.st_dev == there.st_dev;
}

// False where another process holds the lock; a file system without locks has none to hold.
bool lock(const FileDescriptor& file) {
  return flock(file.get(), LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK;
}

// Removes an unfinished file or folder whose writer is gone; false where it is alive.
bool remove_if_dead(const std::string& partial) {
  struct stat status {};
  if (lstat(partial.c_str(), &status) != 0) return true;
  if (!S_ISREG(status.st_mode) && !S_ISDIR(status.st_mode)) return unlink(partial.c_str()) == 0;
  const FileDescriptor file(open(partial.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (!file) return errno == ENOENT;
  if (!lock(file)) return false;
  if (!is_same(file, partial)) return true;
  std::error_code error;
  std::filesystem::remove_all(partial, error);
  return !error;
}

// Makes and locks an unfinished file; none, and errno says why, where that cannot be.
FileDescriptor claim(const std::string& partial) {
  FileDescriptor file(
      open(partial.c_str(), O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0666));
  // Between the two calls another run may have taken it for a dead one's.
  if (file && (!lock(file) || !is_same(file, partial))) {
    file.reset();
    errno = EEXIST;
  }
  return file;
}

// Puts back a folder that a killed run had moved aside, or removes it where its name is taken
// again. Only the next run that writes it knows the full name of a shortened one.
void put_back(const std::string& old) {
  const std::string hidden = name_of(old);
  const std::string name = hidden.substr(1, hidden.size() - 1 - std::strlen(kOld));
  if (name.empty() || name.rfind(kShortened, 0) == 0) return;
  const std::string path = old.substr(0, old.size() - hidden.size()) + name;
  const std::string partial = partial_of(path);
  if (!remove_if_dead(partial)) return;
  const FileDescriptor file = claim(partial);
  if (!file) return;
  const RemovedAtOnce removed_at_once(partial);
  struct stat status {};
  if (lstat(path.c_str(), &status) == 0) {
    remove_if_dead(old);
  } else {
    rename(old.c_str(), path.c_str());
  }
  unlink(partial.c_str());
}

// The unfinished file of an older runner, .NAME.partial-PID, whose process is gone.
bool is_left_by_older_runner(const std::string& name) {
  const std::string mark = ".partial-";
  const auto at = name.rfind(mark);
  if (at == std::string::npos) return false;
  const std::string process = name.substr(at + mark.size());
  return is_number(process) && kill(std::atoi(process.c_str()), 0) != 0 && errno == ESRCH;
}

void remove_dead_outputs(const std::string& folder) {
  const std::unique_ptr<DIR, int (*)(DIR*)> entries(opendir(folder.c_str()), closedir);
  if (!entries) return;
  while (const dirent* entry = readdir(entries.get())) {
    const std::string name = entry->d_name;
    if (name[0] != '.') continue;
    const std::string path = (folder == "." ? "" : folder) + name;
    if (ends_with(name, kOld)) put_back(path);
    if (!ends_with(name, kPartial) && !is_left_by_older_runner(name)) continue;
    struct stat status {};
    if (lstat(path.c_str(), &status) == 0 && (S_ISREG(status.st_mode) || S_ISDIR(status.st_mode))) {
      remove_if_dead(path);
    }
  }
}

}  // namespace

WholeFile::WholeFile(const std::string& path, bool overwrite, std::string option)
    : named_(option + " " + path),
      path_(path),
      overwrite_(overwrite),
      option_(std::move(option)),
      direct_(is_written_into(path)) {
  struct stat status {};
  if (name_of(path).empty() || (stat(path.c_str(), &status) == 0 && S_ISDIR(status.st_mode))) {
    fail("is a folder; name a file");
  }
  if (direct_) {
    const int own = descriptor_of(path);
    file_ = FileDescriptor(own >= 0 ? fcntl(own, F_DUPFD_CLOEXEC, 0)
                                    : open(path.c_str(), O_WRONLY | O_NOCTTY | O_CLOEXEC));
    if (!file_ && stop_requested()) throw Stopped();
    if (!file_) fail_to("cannot be written", errno);
    return;
  }
  path_ = link_target(path);
  if (lstat(path_.c_str(), &status) == 0 && !overwrite_) fail_taken();
  const std::string folder = folder_of(path_);
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) fail_to("its folder cannot be made", error.value());
  remove_dead_outputs(folder);
  open_partial();
}

WholeFile::~WholeFile() {
  if (!partial_.empty() && is_same(file_, partial_)) unlink(partial_.c_str());
}

void WholeFile::open_partial() {
  const std::string partial = partial_of(path_);
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    if (attempt > 1) usleep(kPauseMicroseconds);  // the first only finds a dead run's
    if (stop_requested()) throw Stopped();
    file_ = claim(partial);
    if (!file_) {
      if (errno != EEXIST) fail_to("cannot be written", errno);
      remove_if_dead(partial);
      continue;
    }
    partial_ = partial;
    removed_at_once_ = std::make_unique<RemovedAtOnce>(partial_);
    return;
  }
  fail("another process is writing it; wait, or choose another " + option_);
}

void WholeFile::append(std::string_view bytes) {
  if (direct_) {
    held_ += bytes;
  } else {
    write_all(bytes);
  }
}

void WholeFile::rewrite_beginning(std::string_view bytes) {
  if (direct_) {
    held_.replace(0, bytes.size(), bytes);
    return;
  }
  if (lseek(file_.get(), 0, SEEK_SET) != 0) fail_to("cannot be completed", errno);
  write_all(bytes);
}

void WholeFile::write_all(std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = write(file_.get(), bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) {
      if (stop_requested()) throw Stopped();
      continue;
    }
    if (written < 0) fail_to("only a part could be written", errno);
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
}

void WholeFile::finish() {
  if (direct_) {
    write_all(held_);
    if (!file_.reset()) fail_to("only a part could be written", errno);
    return;
  }
  if (stop_requested()) throw Stopped();
  move_to_name();
  removed_at_once_.reset();
  partial_.clear();
  if (!file_.reset()) fail_to("only a part could be written", errno);
}

void WholeFile::move_to_name() {
  const char* const from = partial_.c_str();
  const char* const to = path_.c_str();
  if (overwrite_) {
    if (rename(from, to) != 0) fail_to("cannot be written", errno);
    return;
  }
  if (syscall(SYS_renameat2, AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) return;
  if (errno == EEXIST) fail_taken();
  if (errno != EINVAL && errno != ENOSYS && errno != EPERM) fail_to("cannot be written", errno);
  // Kernels and file systems that cannot do that may have links; some have neither.
  if (link(from, to) == 0) {
    unlink(from);
    return;
  }
  if (errno == EEXIST) fail_taken();
  struct stat status {};
  if (lstat(to, &status) == 0) fail_taken();
  if (rename(from, to) != 0) fail_to("cannot be written", errno);
}

void WholeFile::fail(const std::string& problem) const { throw Error(named_ + ": " + problem); }

void WholeFile::fail_taken() const {
  fail("exists already; choose another " + option_ + " or add --overwrite");
}

void WholeFile::fail_to(const char* what, int error) const {
  const char* way_out = error == ENOSPC || error == EDQUOT ? "free some space or choose another "
                        : error == EFBIG ? "raise the limit on file sizes or choose another "
                                         : "choose another ";
  fail(std::string(what) + " (" + std::strerror(error) + "); " + way_out + option_);
}

}  // namespace arcmobile
