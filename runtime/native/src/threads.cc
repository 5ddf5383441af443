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
    while (static_cast<int>(threads.size()) < count) {
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
    throw Error("--threads " + std::to_string(count) + ": only " + std::to_string(threads.size()) +
                " can be started here; give fewer");
  }
}

}  // namespace arcmobile
