#include "score.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>
#include <string>

namespace arcmobile::tokenizer {
namespace {

constexpr int kLargestPower = 308;
constexpr int kMostExponent = 1'000'000;  // more than any that leaves a number other than 0

bool is_digit(char c) { return c >= '0' && c <= '9'; }

double power_of_ten(int exponent) {
  static const auto table = [] {
    std::array<double, kLargestPower + 1> powers{};
    for (int i = 0; i <= kLargestPower; ++i) {
      powers[static_cast<std::size_t>(i)] = std::strtod(("1e" + std::to_string(i)).c_str(), nullptr);
    }
    return powers;
  }();
  return table[static_cast<std::size_t>(exponent)];
}

// The digits of a number as an integer of 64 bits and a power of ten; digits that do not fit are
// dropped.
class Significand {
 public:
  void whole_digit(char c) {
    if (!take(c)) ++power;
  }
  void fraction_digit(char c) {
    if (take(c)) --power;
  }

  std::uint64_t digits = 0;
  int power = 0;

 private:
  bool take(char c) {
    const auto digit = static_cast<std::uint64_t>(c - '0');
    if (full_ || digits > (std::numeric_limits<std::uint64_t>::max() - digit) / 10) full_ = true;
    if (!full_) digits = digits * 10 + digit;
    return !full_;
  }

  bool full_ = false;
};

}  // namespace

std::optional<double> read_score(std::string_view number) {
  std::size_t at = 0;
  const auto accept = [&](char c) { return at < number.size() && number[at] == c && (++at, true); };
  const bool negative = accept('-');
  Significand value;
  for (; at < number.size() && is_digit(number[at]); ++at) value.whole_digit(number[at]);
  if (accept('.')) {
    for (; at < number.size() && is_digit(number[at]); ++at) value.fraction_digit(number[at]);
  }
  if (accept('e') || accept('E')) {
    const bool smaller = accept('-');
    if (!smaller) accept('+');
    int exponent = 0;
    for (; at < number.size() && is_digit(number[at]); ++at) {
      exponent = std::min(exponent * 10 + (number[at] - '0'), kMostExponent);
    }
    value.power += smaller ? -exponent : exponent;
  }
  auto magnitude = static_cast<double>(value.digits);
  while (value.power < -kLargestPower && magnitude != 0) {
    magnitude /= power_of_ten(kLargestPower);
    value.power += kLargestPower;
  }
  if (magnitude == 0) return 0.0;
  if (value.power > kLargestPower) return std::nullopt;
  magnitude = value.power >= 0 ? magnitude * power_of_ten(value.power)
                               : magnitude / power_of_ten(-value.power);
  if (!std::isfinite(magnitude)) return std::nullopt;
  return negative ? -magnitude : magnitude;
}

}  // namespace arcmobile::tokenizer
