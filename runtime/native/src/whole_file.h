// An output file that appears whole or not at all; the scheme of runtime/whole_output.py.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "file_descriptor.h"
#include "signals.h"

namespace arcmobile {

// Until `finish` the file of name NAME is `.NAME.arcmobile-partial` beside it, made anew and locked.
// One whose lock is free is left by a dead run and removed; one whose lock is held is another
// process's. A device, a pipe or /dev/stdout is written into, and never replaced; of a
// link, the file it leads to is replaced.
class WholeFile {
 public:
  // Makes missing folders, removes what dead runs left in the folder, and puts folders back that
  // they had moved aside (`.NAME.arcmobile-old`). `option` chose the path, for messages. Throws
  // Error where the path cannot be written or is taken, unless `overwrite`.
  WholeFile(const std::string& path, bool overwrite, std::string option);
  ~WholeFile();  // removes the unfinished file
  WholeFile(const WholeFile&) = delete;
  WholeFile& operator=(const WholeFile&) = delete;

  // Throw Error (disk full) or Stopped.
  void append(std::string_view bytes);
  void rewrite_beginning(std::string_view bytes);  // that were appended before

  // Moves it to its name. Throws Error.
  void finish();

 private:
  void open_partial();
  void write_all(std::string_view bytes);
  void move_to_name();
  [[noreturn]] void fail(const std::string& problem) const;
  [[noreturn]] void fail_taken() const;
  [[noreturn]] void fail_to(const char* what, int error) const;

  std::string named_;  // option and path, for messages
  std::string path_;   // what a link leads to
  bool overwrite_;
  std::string option_;
  bool direct_;  // into a device or pipe: all at the end, from `held_`
  std::string held_;
  std::string partial_;  // empty: there is none
  FileDescriptor file_;
  std::unique_ptr<RemovedAtOnce> removed_at_once_;
};

}  // namespace arcmobile
