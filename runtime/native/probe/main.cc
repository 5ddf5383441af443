// For tests: prints what the parts of the runner compute, so that Python can compare.
//   arcmobile-probe noise SEED STREAM ITEM FIRST COUNT     float32 bits, hexadecimal, one a line
//   arcmobile-probe philox C0 C1 C2 C3 K0 K1               four words
//   arcmobile-probe schedule STEPS START END               float32 values
//   arcmobile-probe windows FRAMES WINDOW CONTEXT          start stop keep_start keep_stop
//   arcmobile-probe tokens SPIECE_MODEL TOKENIZER_JSON EOS < lines    JSON strings in, ids out

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "decode_windows.h"
#include "noise.h"
#include "sampler.h"
#include "tokenizer.h"

using namespace arcmobile;

namespace {

std::uint64_t number(const std::string& text) { return std::strtoull(text.c_str(), nullptr, 0); }

std::uint32_t word(const std::string& text) { return static_cast<std::uint32_t>(number(text)); }

int tokens(const std::vector<std::string>& a) {
  const PromptTokenizer tokenizer(Tokenizer{a[1], a[2], 64, 0, std::stoi(a[3])});
  for (std::string line; std::getline(std::cin, line);) {
    for (const auto id : tokenizer.encode(nlohmann::json::parse(line).get<std::string>())) {
      std::printf("%d ", id);
    }
    std::puts("");
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  const std::vector<std::string> a(argv + 1, argv + argc);
  if (a.size() == 6 && a[0] == "noise") {
    for (const float value : normal_noise(number(a[1]), word(a[2]), number(a[5]), word(a[3]),
                                          number(a[4]))) {
      std::uint32_t bits = 0;
      std::memcpy(&bits, &value, sizeof bits);
      std::printf("%08x\n", bits);
    }
    return 0;
  }
  if (a.size() == 7 && a[0] == "philox") {
    for (const auto w : philox4x32({word(a[1]), word(a[2]), word(a[3]), word(a[4])},
                                   {word(a[5]), word(a[6])})) {
      std::printf("%u\n", w);
    }
    return 0;
  }
  if (a.size() == 4 && a[0] == "schedule") {
    for (const float t : pingpong_schedule(std::stoi(a[1]), std::stod(a[2]), std::stod(a[3]))) {
      std::printf("%.9g\n", static_cast<double>(t));
    }
    return 0;
  }
  if (a.size() == 4 && a[0] == "windows") {
    for (const Window& w : plan_windows(std::stoi(a[1]), std::stoi(a[2]), std::stoi(a[3]))) {
      std::printf("%d %d %d %d\n", w.start, w.stop, w.keep_start, w.keep_stop);
    }
    return 0;
  }
  if (a.size() == 4 && a[0] == "tokens") return tokens(a);
  std::fputs("see the head of probe/main.cc\n", stderr);
  return 2;
}
