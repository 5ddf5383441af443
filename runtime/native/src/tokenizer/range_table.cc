#include "range_table.h"

#include <algorithm>

namespace arcmobile::tokenizer {

RangeTable::RangeTable(std::string_view encoded) {
  const char* at = encoded.data();
  const char* const end = at + encoded.size();
  const auto number = [&] {
    char32_t value = 0;
    for (; at < end; ++at) {
      if (*at >= '0' && *at <= '9') {
        value = value * 36 + static_cast<char32_t>(*at - '0');
      } else if (*at >= 'a' && *at <= 'z') {
        value = value * 36 + static_cast<char32_t>(*at - 'a' + 10);
      } else {
        break;
      }
    }
    return value;
  };
  char32_t next = 0;
  while (at < end) {
    const char kind = *at++;
    const char32_t first = next + number();
    char32_t last = first;
    if (at < end && *at == '-') {
      ++at;
      last += number();
    }
    ranges_.push_back({first, last, kind});
    next = last + 1;
  }
}

char RangeTable::class_of(char32_t code_point) const {
  const auto after = std::upper_bound(
      ranges_.begin(), ranges_.end(), code_point,
      [](char32_t wanted, const Range& range) { return wanted < range.first; });
  if (after == ranges_.begin()) return kNone;
  const Range& range = *(after - 1);
  return code_point <= range.last ? range.kind : kNone;
}

}  // namespace arcmobile::tokenizer
