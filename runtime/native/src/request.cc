#include "request.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <sstream>

#include "bounds.h"
#include "decode_windows.h"
#include "errors.h"
#include "names.h"
#include "prompt_tokenizer.h"
#include "sampler.h"

namespace arcmobile {
namespace {

template <typename... Parts>
std::string text(const Parts&... parts) {
  std::ostringstream stream;
  (stream << ... << parts);
  return stream.str();
}

// Less than a latent frame too much is the longest sound in fewer digits: 11.9 for 11.888.
std::size_t sample_count(double seconds, double longest, const Bundle& bundle) {
  const double samples = std::isfinite(seconds) ? std::nearbyint(seconds * bundle.sample_rate) : 0;
  const double most = std::nearbyint(longest * bundle.sample_rate);
  if (samples < 1 || samples >= most + bundle.samples_per_frame) {
    throw Error(text("--seconds ", seconds, ": give more than 0 and at most ",
                     std::floor(longest * 1000) / 1000));
  }
  return static_cast<std::size_t>(std::min(samples, most));
}

std::uint64_t random_seed() {
  std::random_device device;
  return (std::uint64_t{device()} << 32) | device();
}

void settle_numbers(const Request& request, double seconds, const Bundle& bundle, Plan& plan) {
  for (const auto& [name, value] : request.numbers) {
    const auto known = std::any_of(bundle.numbers.begin(), bundle.numbers.end(),
                                   [&, &wanted = name](const auto& n) { return n.name == wanted; });
    if (!known) throw Error("--number " + name + ": the model has no such input");
    if (!std::isfinite(value)) throw Error("--number " + name + ": give a finite value");
  }
  for (const auto& number : bundle.numbers) {
    const auto given = request.numbers.find(number.name);
    const double value = given != request.numbers.end()        ? given->second
                         : number.name == names::seconds_input ? seconds
                                                               : number.minimum;
    if (value < number.minimum || value > number.maximum) {
      plan.warnings.push_back(text(number.name, " ", value, " is outside ", number.minimum, " .. ",
                                   number.maximum, "; the model takes the nearest value"));
    }
    plan.numbers[number.name] = static_cast<float>(value);
  }
}

}  // namespace

std::vector<PartPlan> plan_decoder(const Bundle& bundle, int frames) {
  std::vector<PartPlan> plans;
  for (std::size_t i = 0; i < bundle.decoder.size(); ++i) {
    const DecoderPart& part = bundle.decoder[i];
    const int rate = part.frames_per_latent;
    const int next_rate = i + 1 < bundle.decoder.size() ? bundle.decoder[i + 1].frames_per_latent
                                                        : bundle.samples_per_frame;
    std::vector<int> windows;
    for (const Entry& entry : part.component.entries) windows.push_back(entry.frames);
    const int window = choose_window(frames * rate, windows, part.context_frames);
    const Entry& entry = part.component.entry_for(window);
    plans.push_back({frames * rate, window, part.context_frames, next_rate / rate,
                     entry.inputs.front().shape[1], entry.outputs.front().shape[1]});
  }
  return plans;
}

Plan make_plan(const Request& request, const Bundle& bundle) {
  check_prompt(request.prompt);
  const double longest =
      static_cast<double>(bundle.longest_frames()) * bundle.samples_per_frame / bundle.sample_rate;
  const double seconds = request.seconds.value_or(longest);
  Plan plan{};
  plan.samples = sample_count(seconds, longest, bundle);
  const auto per_frame = static_cast<std::size_t>(bundle.samples_per_frame);
  plan.frames_needed = static_cast<int>((plan.samples + per_frame - 1) / per_frame);
  plan.frames = *std::find_if(bundle.frame_counts.begin(), bundle.frame_counts.end(),
                              [&](int count) { return count >= plan.frames_needed; });
  const int steps = request.steps.value_or(bundle.default_steps);
  if (steps < 1 || steps > bounds::steps) {
    throw Error(text("--steps ", steps, ": give 1 to ", bounds::steps));
  }
  plan.times = pingpong_schedule(steps, bundle.logsnr_start, bundle.logsnr_end);
  plan.seed = request.seed ? *request.seed : random_seed();
  plan.decoder = plan_decoder(bundle, plan.frames);
  settle_numbers(request, seconds, bundle, plan);
  if (bundle.objective == names::flow_objective) {
    plan.warnings.push_back(text("a flow model: ", steps, " steps without guidance are not what it ",
                                 "was trained for; use a model after ARC for few steps"));
  }
  return plan;
}

}  // namespace arcmobile
