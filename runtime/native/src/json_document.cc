#include "json_document.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "errors.h"
#include "file_descriptor.h"

namespace arcmobile {

using json = nlohmann::json;

namespace {

constexpr std::size_t kShownKey = 120;  // bytes of a key in a message

}  // namespace

json JsonBuilder::parse(std::string_view text) {
  constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
  if (text.substr(0, kByteOrderMark.size()) == kByteOrderMark) {
    throw std::invalid_argument("begins with a byte order mark");
  }
  // The library takes a NUL for the end of the text.
  if (text.find('\0') != std::string_view::npos) throw std::invalid_argument("holds a NUL");
  if (!json::sax_parse(text.begin(), text.end(), this)) throw std::invalid_argument(problem_);
  return std::move(root_);
}

bool JsonBuilder::number_float(double value, const std::string&) { return put(value); }

bool JsonBuilder::key(std::string& name) {
  if (open_.back() != nullptr && open_.back()->contains(name)) {
    keys_.back() = std::move(name);
    return stop("this key stands twice");
  }
  keys_.back() = std::move(name);
  return true;
}

bool JsonBuilder::parse_error(std::size_t position, const std::string&,
                              const nlohmann::detail::exception&) {
  return stop("broken at byte " + std::to_string(position));
}

bool JsonBuilder::stop(const std::string& problem) {
  std::string path;
  for (std::size_t i = 0; i < open_.size(); ++i) {
    if (open_[i]->is_array()) {
      const bool inside = i + 1 < open_.size();
      path += "[" + std::to_string(open_[i]->size() - (inside ? 1 : 0)) + "]";
    } else {
      path += (path.empty() ? "" : ".") + keys_[i].substr(0, kShownKey);
    }
  }
  problem_ = path + (path.empty() ? "" : ": ") + problem;
  return false;
}

bool JsonBuilder::put(json value) {
  if (values_left_-- == 0) return stop("too many values");
  if (open_.empty()) {
    root_ = std::move(value);
  } else if (open_.back()->is_array()) {
    open_.back()->push_back(std::move(value));
  } else {
    open_.back()->emplace(keys_.back(), std::move(value));
  }
  return true;
}

bool JsonBuilder::open(json container) {
  if (open_.size() >= most_levels_) {
    return stop("more than " + std::to_string(most_levels_) + " brackets within each other");
  }
  if (!put(std::move(container))) return false;
  json* opened = &root_;
  if (!open_.empty()) {
    opened = open_.back()->is_array() ? &open_.back()->back() : &(*open_.back())[keys_.back()];
  }
  open_.push_back(opened);
  keys_.emplace_back();
  return true;
}

bool JsonBuilder::close() {
  open_.pop_back();
  keys_.pop_back();
  return true;
}

std::string read_small_file(const std::string& path, std::int64_t most_bytes) {
  // Without O_NONBLOCK, opening a FIFO would wait for a writer.
  const FileDescriptor file(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  struct stat status {};
  if (!file || fstat(file.get(), &status) != 0) {
    throw Error(path + ": cannot be read (" + std::strerror(errno) + ")");
  }
  if (!S_ISREG(status.st_mode)) throw Error(path + ": is not a regular file");
  if (status.st_size > most_bytes) {
    throw Error(path + ": " + std::to_string(status.st_size) + " bytes, more than the " +
                std::to_string(most_bytes) + " that it may have; export the bundle again");
  }
  std::string text(static_cast<std::size_t>(status.st_size), '\0');
  std::size_t filled = 0;
  while (filled < text.size()) {
    const ssize_t got = read(file.get(), text.data() + filled, text.size() - filled);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) throw Error(path + ": cannot be read (" + std::strerror(errno) + ")");
    if (got == 0) break;
    filled += static_cast<std::size_t>(got);
  }
  text.resize(filled);
  return text;
}

}  // namespace arcmobile
