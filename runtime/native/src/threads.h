// Whether the machine can start that many threads.
#pragma once

namespace arcmobile {

// Starts that many threads and ends them. The thread pool of ExecuTorch does not look whether its
// threads could be started, and waits for those that could not. Throws Error.
void expect_threads(int count);

}  // namespace arcmobile
