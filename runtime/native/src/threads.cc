#include "threads.h"

#include <condition_variable>
#include <mutex>
#include <string>
#include <system_error>
#include <thread>
#include <vector>

#include "errors.h"

namespace arcmobile {

void expect_threads(int count) {
  std::mutex mutex;
  std::condition_variable all_there;
  bool done = false;
  std::vector<std::thread> threads;
  bool refused = false;
  try {
    // The calling thread is one of them. A single thread starts none: instruction counts need that.
    while (static_cast<int>(threads.size()) + 1 < count) {
      threads.emplace_back([&] {
        std::unique_lock<std::mutex> lock(mutex);
        all_there.wait(lock, [&] { return done; });
      });
    }
  } catch (const std::system_error&) {
    refused = true;
  }
  {
    const std::lock_guard<std::mutex> lock(mutex);
    done = true;
  }
  all_there.notify_all();
  for (std::thread& thread : threads) thread.join();
  if (refused) {
    throw Error("--threads " + std::to_string(count) + ": only " +
                std::to_string(threads.size() + 1) + " can be started here; give fewer");
  }
}

}  // namespace arcmobile
