#include "decode_windows.h"

#include <algorithm>

#include "errors.h"

namespace arcmobile {

std::vector<Window> plan_windows(int frames, int window, int context) {
  if (frames < window || (frames > window && window <= 2 * context)) {
    throw Error(std::to_string(frames) + " frames cannot be decoded with a window of " +
                std::to_string(window) + " and " + std::to_string(context) +
                " of context; export the bundle again");
  }
  std::vector<Window> plan;
  for (int position = 0; position < frames;) {
    const int start = std::max(0, std::min(position - context, frames - window));
    const int stop = start + window;
    const int keep_stop = stop == frames ? frames : stop - context;
    plan.push_back({start, stop, position, keep_stop});
    position = keep_stop;
  }
  return plan;
}

int choose_window(int frames, const std::vector<int>& available, int context) {
  int best = 0;
  for (const int window : available) {
    if (window == frames || (window < frames && window > 2 * context)) best = std::max(best, window);
  }
  if (best == 0) {
    throw Error("no exported decoder window can decode " + std::to_string(frames) +
                " frames; export the bundle again with one that can");
  }
  return best;
}

}  // namespace arcmobile
