// For tests: prints what the parts of the runner compute, so that Python can compare.
//   arcmobile-probe noise SEED STREAM ITEM FIRST COUNT     float32 bits, hexadecimal, one a line
//   arcmobile-probe philox C0 C1 C2 C3 K0 K1               four words
//   arcmobile-probe schedule STEPS START END ...           float32 bits, as of the noise
//   arcmobile-probe sampler SEED SIZE STEPS START END      bits of the last latent, see `sampled`
//   arcmobile-probe windows FRAMES WINDOW CONTEXT ...      start stop keep_start keep_stop
//   arcmobile-probe chain FRAMES SAMPLES_PER_FRAME SAMPLES MISSING RATE:CONTEXT:WINDOW,WINDOW...
//       one RATE... for each part; what is run, freed and given, see `chain` below
//   arcmobile-probe tokens TOKENIZER_JSON < lines    JSON strings in, ids out
//   arcmobile-probe calls LIST [weight-cache]              runs programs, see program_calls.h
//   arcmobile-probe bundles < folders                      what is wrong with each, a line each
//   arcmobile-probe sha256 < bytes                         by the CPU's instructions, and without
//   arcmobile-probe pcm16 < float32 values                 16-bit samples

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <vector>

#include "bundle.h"
#include "decoder_chain.h"
#include "errors.h"
#include "noise.h"
#include "program_calls.h"
#include "prompt_tokenizer.h"
#include "request.h"
#include "sampler.h"
#include "sha256.h"
#include "utf8.h"
#include "wav_writer.h"

using namespace arcmobile;

namespace {

std::uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 0); }

std::uint32_t word(const std::string& text) { return static_cast<std::uint32_t>(number(text)); }

constexpr int kLatentChannels = 2;
constexpr int kSoundChannels = 2;

// RATE:CONTEXT:WINDOW,WINDOW... of a part whose input has `channels`.
DecoderPart decoder_part(const std::string& text, int channels, int given) {
  std::istringstream stream(text);
  DecoderPart part{};
  char separator = 0;
  stream >> part.frames_per_latent >> separator >> part.context_frames;
  for (int window = 0; stream >> separator >> window;) {
    part.component.entries.push_back({"", window, {{"", {1, channels, window}, Dtype::float32}},
                                      {{"", {1, given, 0}, Dtype::float32}}});
  }
  return part;
}

// Decodes a latent of 1, 2, 3 ... and prints `call PART values...` for each window, `done PART`,
// and `chunk values...`. A part repeats frames: channel c of what it gives is channel c of what it
// takes (round and round) plus c. Context at a window's edges comes out 1000 too large, so that it
// shows what was kept. The last part gives MISSING samples less.
int chain(const std::vector<std::string>& a) {
  Bundle bundle{};
  bundle.samples_per_frame = std::stoi(a[2]);
  constexpr std::size_t kFirstPart = 5;
  int channels = kLatentChannels;
  for (std::size_t i = kFirstPart; i < a.size(); ++i) {
    const int given = i + 1 < a.size() ? channels + 1 : kSoundChannels;
    bundle.decoder.push_back(decoder_part(a[i], channels, given));
    channels = given;
  }
  const std::vector<PartPlan> parts = plan_decoder(bundle, std::stoi(a[1]));
  std::vector<float> latent(number(a[1]) * kLatentChannels);
  for (std::size_t i = 0; i < latent.size(); ++i) latent[i] = static_cast<float>(i + 1);
  const auto run = [&](std::size_t index, std::vector<float>& window) {
    std::printf("call %zu", index);
    for (const float value : window) std::printf(" %.9g", static_cast<double>(value));
    std::puts("");
    const PartPlan& part = parts[index];
    const int missing = index + 1 == parts.size() ? std::stoi(a[4]) : 0;
    const int length = part.window * part.ratio - missing;
    std::vector<float> output;
    for (int c = 0; c < part.given_channels; ++c) {
      for (int i = 0; i < length; ++i) {
        const int frame = i / part.ratio;
        const bool edge = std::min(frame, part.window - 1 - frame) < part.context;
        const int at = c % part.taken_channels * part.window + frame;
        output.push_back(window[static_cast<std::size_t>(at)] + static_cast<float>(c) +
                         (edge ? 1000.0F : 0.0F));
      }
    }
    return output;
  };
  const auto done = [](std::size_t index) { std::printf("done %zu\n", index); };
  DecoderChain decoder(latent, parts, number(a[3]), run, done);
  while (const auto chunk = decoder.next()) {
    std::printf("chunk");
    for (std::size_t c = 0; c < kSoundChannels; ++c) {
      for (std::size_t i = 0; i < chunk->count; ++i) {
        std::printf(" %.9g", static_cast<double>(chunk->channel(c)[i]));
      }
    }
    std::puts("");
  }
  return 0;
}

int tokens(const std::vector<std::string>& a) {
  const PromptTokenizer tokenizer(Tokenizer{a[1], 64, 0, 0});
  for (std::string line; std::getline(std::cin, line);) {
    for (const auto id : tokenizer.encode(nlohmann::json::parse(line).get<std::string>())) {
      std::printf("%d ", id);
    }
    std::puts("");
  }
  return 0;
}

int bundles() {
  for (std::string folder; std::getline(std::cin, folder);) {
    std::string problem;
    try {
      open_bundle(folder);
    } catch (const Error& error) {
      problem = on_one_line(error.what());
    }
    std::puts(problem.c_str());
  }
  return 0;
}

std::string standard_input() {
  return {std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>()};
}

// In pieces of odd sizes, so that blocks are put together from several.
int digests() {
  const std::string bytes = standard_input();
  for (const bool portable : {false, true}) {
    Sha256 hash(portable);
    for (std::size_t at = 0, size = 1; at < bytes.size(); at += size, size = size * 2 + 1) {
      hash.add(std::string_view(bytes).substr(at, size));
    }
    std::puts(hash.finish().c_str());
  }
  return 0;
}

int samples() {
  const std::string bytes = standard_input();
  for (std::size_t at = 0; at + sizeof(float) <= bytes.size(); at += sizeof(float)) {
    float value = 0;
    std::memcpy(&value, bytes.data() + at, sizeof value);
    std::printf("%d\n", to_pcm16(value));
  }
  return 0;
}

int print_bits(const std::vector<float>& values) {
  for (const float value : values) {
    std::uint32_t bits = 0;
    std::memcpy(&bits, &value, sizeof bits);
    std::printf("%08x\n", bits);
  }
  return 0;
}

// The sampler with the velocity `0.5 * x - t` in place of a network.
std::vector<float> sampled(const std::vector<std::string>& a) {
  const auto velocity = [](const std::vector<float>& x, float t) {
    std::vector<float> v(x.size());
    std::transform(x.begin(), x.end(), v.begin(), [t](float value) { return 0.5F * value - t; });
    return v;
  };
  const auto times = pingpong_schedule(std::stoi(a[3]), std::stod(a[4]), std::stod(a[5]));
  return pingpong(velocity, times, number(a[1]), number(a[2]), [](int, int) {});
}

int calls(const std::string& list, bool weight_cache) {
  try {
    run_program_calls(list, weight_cache);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "error: %s\n", error.what());
    return 2;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> a(argv + 1, argv + argc);
  if (a.size() == 6 && a[0] == "noise") {
    return print_bits(
        normal_noise(number(a[1]), word(a[2]), number(a[5]), word(a[3]), number(a[4])));
  }
  if (a.size() == 7 && a[0] == "philox") {
    for (const auto w : philox4x32({word(a[1]), word(a[2]), word(a[3]), word(a[4])},
                                   {word(a[5]), word(a[6])})) {
      std::printf("%u\n", w);
    }
    return 0;
  }
  const bool triples = a.size() >= 4 && a.size() % 3 == 1;
  if (triples && a[0] == "schedule") {
    for (std::size_t i = 1; i < a.size(); i += 3) {
      print_bits(pingpong_schedule(std::stoi(a[i]), std::stod(a[i + 1]), std::stod(a[i + 2])));
    }
    return 0;
  }
  if (a.size() == 6 && a[0] == "sampler") return print_bits(sampled(a));
  if (triples && a[0] == "windows") {
    for (std::size_t i = 1; i < a.size(); i += 3) {
      const int frames = std::stoi(a[i]), window = std::stoi(a[i + 1]);
      for (const Window& w : plan_windows(frames, window, std::stoi(a[i + 2]))) {
        std::printf("%d %d %d %d\n", w.start, w.stop, w.keep_start, w.keep_stop);
      }
    }
    return 0;
  }
  if (a.size() >= 6 && a[0] == "chain") return chain(a);
  if (a.size() == 2 && a[0] == "tokens") return tokens(a);
  if (a.size() == 1 && a[0] == "bundles") return bundles();
  if (a.size() == 2 && a[0] == "calls") return calls(a[1], false);
  if (a.size() == 3 && a[0] == "calls" && a[2] == "weight-cache") return calls(a[1], true);
  if (a.size() == 1 && a[0] == "sha256") return digests();
  if (a.size() == 1 && a[0] == "pcm16") return samples();
  std::fputs("see the head of probe/main.cc\n", stderr);
  return 2;
}
