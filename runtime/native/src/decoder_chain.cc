#include "decoder_chain.h"

#include <algorithm>

#include "bundle.h"
#include "errors.h"

namespace arcmobile {
namespace {

std::size_t whole(int count) { return static_cast<std::size_t>(count); }

}  // namespace

DecoderChain::DecoderChain(std::vector<float> latent, const std::vector<PartPlan>& parts,
                           std::size_t samples, Run run, Done done)
    : samples_left_(samples), run_(std::move(run)), done_(std::move(done)) {
  for (const PartPlan& plan : parts) {
    parts_.push_back({plan, plan_windows(plan.frames, plan.window, plan.context), 0, {}, {}});
  }
  // From the back: a part has to give as far as the last window of the part after it reaches.
  std::size_t needed = samples;
  for (auto part = parts_.rbegin(); part != parts_.rend(); ++part) {
    const auto beyond = [&](const Window& w) {
      return whole(w.keep_start) * whole(part->plan.ratio) >= needed;
    };
    const auto begin = part->windows.begin();
    part->windows.erase(std::find_if(begin + 1, part->windows.end(), beyond), part->windows.end());
    needed = whole(part->windows.back().stop);
  }
  const std::size_t frames = whole(parts_.front().plan.frames);
  parts_.front().left = {std::move(latent), frames, 0, frames};
}

std::optional<Chunk> DecoderChain::next() {
  if (parts_.back().next == parts_.back().windows.size()) return std::nullopt;
  Chunk chunk = run_window(parts_.size() - 1);
  chunk.count = std::min(chunk.count, samples_left_);
  samples_left_ -= chunk.count;
  return chunk;
}

// Puts the input of the part's next window together: the end of the window before, then what the
// part before gives.
void DecoderChain::fill_window(std::size_t index) {
  Part& part = parts_[index];
  const std::size_t length = whole(part.plan.window);
  const std::size_t channels = whole(part.plan.taken_channels);
  std::size_t filled = 0;
  if (part.next == 0) {
    part.window.resize(channels * length);
  } else {
    const int before = part.windows[part.next - 1].start;
    const std::size_t step = whole(part.windows[part.next].start - before);
    filled = length - step;
    for (std::size_t c = 0; c < channels; ++c) {
      float* row = part.window.data() + c * length;
      std::copy(row + step, row + length, row);
    }
  }
  while (filled < length) {
    if (part.left.count == 0) {
      part.left = Chunk();  // freed before the next one is made
      part.left = run_window(index - 1);
    }
    const std::size_t taken = std::min(part.left.count, length - filled);
    for (std::size_t c = 0; c < channels; ++c) {
      std::copy_n(part.left.channel(c), taken, part.window.data() + c * length + filled);
    }
    part.left.first += taken;
    part.left.count -= taken;
    filled += taken;
  }
}

// What a part keeps of its next window.
Chunk DecoderChain::run_window(std::size_t index) {
  Part& part = parts_[index];
  const PartPlan& plan = part.plan;
  const Window window = part.windows[part.next];
  fill_window(index);
  if (part.left.count == 0) part.left = Chunk();
  Chunk output{run_(index, part.window), 0, 0, 0};
  output.stride = output.values.size() / whole(plan.given_channels);
  const std::size_t last = whole(window.keep_stop - window.start) * whole(plan.ratio);
  const bool may_be_short = index + 1 == parts_.size() && window.keep_stop == plan.frames;
  if (last > output.stride && !may_be_short) {
    throw Error(decoder_part(index) + ": gives too few frames or samples for " +
                "its context; export the bundle again");
  }
  const std::size_t stop = std::min(last, output.stride);
  output.first = std::min(stop, whole(window.keep_start - window.start) * whole(plan.ratio));
  output.count = stop - output.first;
  if (++part.next == part.windows.size()) {
    part.window = std::vector<float>();
    part.left = Chunk();
    done_(index);
  }
  return output;
}

}  // namespace arcmobile
