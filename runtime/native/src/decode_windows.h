// Windows of a chunked decode, as in runtime/decode.py.
#pragma once

#include <string>
#include <vector>

namespace arcmobile {

// Frames start .. stop go through the network; keep_start .. keep_stop of them are kept.
struct Window {
  int start;
  int stop;
  int keep_start;
  int keep_stop;
};

// Windows that produce each of `frames` frames once, in order. Throws Error where none fit.
std::vector<Window> plan_windows(int frames, int window, int context);

// The largest exported window that can decode `frames` frames. Throws Error where none can.
int choose_window(int frames, const std::vector<int>& available, int context);

}  // namespace arcmobile
