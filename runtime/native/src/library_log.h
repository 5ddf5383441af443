// ExecuTorch's log: hidden, its last message kept for our error lines.
#pragma once

#include <string>

namespace arcmobile {

// Sends ExecuTorch's messages here; with `verbose` they also go to standard error.
void take_library_log(bool verbose);

// The last error ExecuTorch logged, on one line; `otherwise` where there is none.
std::string last_library_error(const std::string& otherwise);

}  // namespace arcmobile
