// The parts of the decoder one after the other, each by windows of its own; as runtime/decode.py.
//
// A part pulls its input from the part before it, as far as its next window needs, so the first
// samples are there after few windows of each. Knows nothing of programs: it calls functions.
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include "decode_windows.h"

namespace arcmobile {

// How one part runs over its input.
struct PartPlan {
  int frames;          // of its whole input
  int window;          // frames per call
  int context;         // frames at each inner edge of a window whose output is dropped
  int ratio;           // frames, from the last part samples, that it gives for each frame
  int taken_channels;  // of its input
  int given_channels;  // of its output
};

// Frames or samples of several channels: channel c begins at values[c * stride + first].
struct Chunk {
  std::vector<float> values;
  std::size_t stride = 0;
  std::size_t first = 0;
  std::size_t count = 0;

  const float* channel(std::size_t c) const { return values.data() + c * stride + first; }
};

class DecoderChain {
 public:
  // Runs part `part`, counted from 0, on a window of (taken_channels, window) values; returns
  // (given_channels, about window * ratio). It may move the window away while it runs, to save a
  // copy, but has to put it back: the next window begins with the end of this one.
  using Run = std::function<std::vector<float>(std::size_t part, std::vector<float>& window)>;

  // Called once for each part, after the last of its windows: its program is no longer needed.
  using Done = std::function<void(std::size_t part)>;

  // `latent` is (taken_channels of the first part, its frames). Windows beyond `samples` are not
  // computed. Throws Error where a part has no windows that fit.
  DecoderChain(std::vector<float> latent, const std::vector<PartPlan>& parts, std::size_t samples,
               Run run, Done done);

  // The samples that follow, nothing after the last; together they are the one-shot result, cut to
  // `samples`. Odd strides give a little less at the end of a window, which shortens the last
  // chunk only. Throws Error where a part gives less than that.
  std::optional<Chunk> next();

 private:
  // Between two windows a part holds what it took, `window`, whose end is the context of the next,
  // and what is left of the last chunk it was given: nothing else of its input is in memory.
  struct Part {
    PartPlan plan;
    std::vector<Window> windows;
    std::size_t next = 0;  // of the windows
    std::vector<float> window;
    Chunk left;
  };

  void fill_window(std::size_t index);
  Chunk run_window(std::size_t index);

  std::vector<Part> parts_;
  std::size_t samples_left_;
  Run run_;
  Done done_;
};

}  // namespace arcmobile
