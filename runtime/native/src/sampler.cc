#include "sampler.h"

#include <cmath>

#include "noise.h"

namespace arcmobile {

std::vector<float> pingpong_schedule(int steps, double logsnr_start, double logsnr_end) {
  const auto first = static_cast<float>(logsnr_start);
  const auto last = static_cast<float>(logsnr_end);
  const float step = (last - first) / static_cast<float>(steps);
  const int count = steps + 1;
  std::vector<float> times(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) {
    // From both ends, as PyTorch's linspace does.
    const float logsnr = i < count / 2 ? first + step * static_cast<float>(i)
                                       : last - step * static_cast<float>(count - 1 - i);
    // In double, as docs/bundle.md says.
    const auto odds = static_cast<float>(std::exp(static_cast<double>(logsnr)));
    times[static_cast<std::size_t>(i)] = 1.0f / (1.0f + odds);
  }
  times.front() = 1.0f;
  times.back() = 0.0f;
  return times;
}

std::vector<float> pingpong(const Velocity& velocity, const std::vector<float>& times,
                            std::uint64_t seed, std::size_t size,
                            const std::function<void(int, int)>& on_step) {
  const int steps = static_cast<int>(times.size()) - 1;
  std::vector<float> x = normal_noise(seed, kInitialNoise, size);
  for (int index = 0; index < steps; ++index) {
    const float now = times[static_cast<std::size_t>(index)];
    const float next = times[static_cast<std::size_t>(index) + 1];
    const std::vector<float> v = velocity(x, now);
    for (std::size_t i = 0; i < size; ++i) x[i] = x[i] - now * v[i];
    if (next > 0.0f) {
      const auto fresh = normal_noise(seed, static_cast<std::uint32_t>(index + 1), size);
      for (std::size_t i = 0; i < size; ++i) x[i] = (1.0f - next) * x[i] + next * fresh[i];
    }
    on_step(index + 1, steps);
  }
  return x;
}

}  // namespace arcmobile
