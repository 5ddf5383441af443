// Digests of bundle files, compared when a bundle is opened and remembered for the next time.
#pragma once

#include <string>

#include "bundle.h"

namespace arcmobile {

// Compares the file's sha256 with its record, or finds that this was done: a stamp in the user's
// cache folder says so as long as nothing about the file changed (size, times, inode, device).
// Python reads and writes the same stamps. Throws Error where the digest differs or the file cannot
// be read, Stopped after a signal. A stamp that cannot be written is no error.
void verify_file(const std::string& path, const FileRecord& record);

}  // namespace arcmobile
