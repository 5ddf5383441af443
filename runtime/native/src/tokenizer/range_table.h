// Classes of code points.
#pragma once

#include <string_view>
#include <vector>

namespace arcmobile::tokenizer {

// In `encoded` a range is its class (an upper-case letter), the number of code points since the end
// of the range before, and, where it holds more than one, `-` and the number of further ones. The
// numbers are in base 36, with lower-case digits.
class RangeTable {
 public:
  static constexpr char kNone = '-';  // the class of code points of no range

  explicit RangeTable(std::string_view encoded);

  char class_of(char32_t code_point) const;

 private:
  struct Range {
    char32_t first;
    char32_t last;
    char kind;
  };
  std::vector<Range> ranges_;
};

}  // namespace arcmobile::tokenizer
