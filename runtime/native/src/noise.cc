#include "noise.h"

#include <cmath>
#include <utility>

namespace arcmobile {
namespace {

constexpr double kSqrtHalf = 0.7071067811865476;
constexpr double kLn2 = 0.6931471805599453;
constexpr double kTwoPiOverTurn = 6.283185307179586 / 4294967296.0;
constexpr int kRounds = 10;

using LogTerms = std::array<double, 11>;
using TurnTerms = std::array<double, 9>;

constexpr LogTerms make_log_terms() {
  LogTerms terms{};
  for (int k = 0; k < 11; ++k) terms[static_cast<std::size_t>(k)] = 1.0 / (2 * k + 1);
  return terms;
}

// (-1)^k / (2k + odd)!; every factorial up to 17! is exact in a double.
constexpr TurnTerms make_turn_terms(int odd) {
  TurnTerms terms{};
  double factorial = 1.0;
  int next = 1;
  for (int k = 0; k < 9; ++k) {
    for (; next <= 2 * k + odd; ++next) factorial *= next;
    terms[static_cast<std::size_t>(k)] = (k % 2 == 0 ? 1.0 : -1.0) / factorial;
  }
  return terms;
}

constexpr LogTerms kLogTerms = make_log_terms();
constexpr TurnTerms kCosTerms = make_turn_terms(0);
constexpr TurnTerms kSinTerms = make_turn_terms(1);

template <std::size_t N>
double horner(const std::array<double, N>& terms, double z) {
  double value = terms[N - 1];
  for (std::size_t k = N - 1; k-- > 0;) value = value * z + terms[k];
  return value;
}

// ln((word + 1) / 2^32)
double log_unit(std::uint32_t word) {
  int exponent = 0;
  double fraction = std::frexp(static_cast<double>(word) + 1.0, &exponent);
  if (fraction < kSqrtHalf) {
    fraction *= 2.0;
    --exponent;
  }
  const double s = (fraction - 1.0) / (fraction + 1.0);
  return static_cast<double>(exponent - 32) * kLn2 + (2.0 * s) * horner(kLogTerms, s * s);
}

// cos and sin of 2 pi word / 2^32
std::pair<double, double> cos_sin_turn(std::uint32_t word) {
  const std::uint32_t quadrant = (word + (1u << 29)) >> 30;
  const auto rest = static_cast<std::int32_t>(word - (quadrant << 30));
  const double x = static_cast<double>(rest) * kTwoPiOverTurn;
  const double z = x * x;
  const double c = horner(kCosTerms, z);
  const double s = x * horner(kSinTerms, z);
  switch (quadrant) {
    case 0: return {c, s};
    case 1: return {-s, c};
    case 2: return {-c, -s};
    default: return {s, -c};
  }
}

}  // namespace

std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> c,
                                        std::array<std::uint32_t, 2> key) {
  for (int round = 0; round < kRounds; ++round) {
    const std::uint64_t product0 = std::uint64_t{c[0]} * 0xD2511F53u;
    const std::uint64_t product1 = std::uint64_t{c[2]} * 0xCD9E8D57u;
    c = {static_cast<std::uint32_t>(product1 >> 32) ^ c[1] ^ key[0],
         static_cast<std::uint32_t>(product1),
         static_cast<std::uint32_t>(product0 >> 32) ^ c[3] ^ key[1],
         static_cast<std::uint32_t>(product0)};
    key = {key[0] + 0x9E3779B9u, key[1] + 0xBB67AE85u};
  }
  return c;
}

std::vector<float> normal_noise(std::uint64_t seed, std::uint32_t stream, std::size_t count,
                                std::uint32_t item, std::size_t first) {
  const std::array<std::uint32_t, 2> key{static_cast<std::uint32_t>(seed),
                                         static_cast<std::uint32_t>(seed >> 32)};
  std::vector<float> noise(count);
  for (std::size_t block = first / 4; block * 4 < first + count; ++block) {
    const auto words = philox4x32({static_cast<std::uint32_t>(block), 0, stream, item}, key);
    for (std::size_t half = 0; half < 2; ++half) {
      const double radius = std::sqrt(-2.0 * log_unit(words[2 * half]));
      const auto [cosine, sine] = cos_sin_turn(words[2 * half + 1]);
      const double normals[2] = {radius * cosine, radius * sine};
      for (std::size_t k = 0; k < 2; ++k) {
        const std::size_t element = block * 4 + 2 * half + k;
        if (element >= first && element < first + count) {
          noise[element - first] = static_cast<float>(normals[k]);
        }
      }
    }
  }
  return noise;
}

}  // namespace arcmobile
