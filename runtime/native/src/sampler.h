// Ping-pong sampling and its schedule, in the float32 of runtime/schedule.py and runtime/sampler.py.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace arcmobile {

// Times of shape (steps + 1), from 1 down to 0: sigmoid(-linspace(logsnr_start, logsnr_end)).
std::vector<float> pingpong_schedule(int steps, double logsnr_start, double logsnr_end);

// velocity(latent, t) is the model; `latent` has `size` values.
using Velocity = std::function<std::vector<float>(const std::vector<float>& latent, float t)>;

// The final latent. At every step `denoised = x - t v`, and `x = (1 - t_next) denoised + t_next
// noise` goes on. `on_step(done, total)` is called after each step and may throw to stop.
std::vector<float> pingpong(const Velocity& velocity, const std::vector<float>& times,
                            std::uint64_t seed, std::size_t size,
                            const std::function<void(int, int)>& on_step);

}  // namespace arcmobile
