// Text while it is being normalized.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <string_view>

#include "utf8.h"

namespace arcmobile::tokenizer {

// Bytes of a text that is still tokenized: far more than any model reads.
inline constexpr std::size_t kLongestText = std::size_t{1} << 20;

// For what replacements make longer. Throws std::invalid_argument beyond kLongestText.
inline void append(std::string& text, std::string_view more) {
  if (more.size() > kLongestText || text.size() > kLongestText - more.size()) {
    throw std::invalid_argument("the normalized prompt is too long");
  }
  text += more;
}

// Well-formed UTF-8. `head` is how many leading bytes stem from the very first character of the
// prompt, 0 for a part from further on: the reference asks this of its alignments where a space is
// put before the beginning of the prompt only (`prepend_scheme` "first").
struct NormalizedText {
  std::string text;
  std::size_t head = 0;

  NormalizedText slice(std::size_t start, std::size_t end) const {
    const std::size_t before = std::min(std::max(head, start), end) - start;
    return {text.substr(start, end - start), before};
  }

  static NormalizedText of_prompt(std::string_view prompt) {
    return {std::string(prompt), prompt.empty() ? 0 : code_point_at(prompt, 0).size};
  }
};

}  // namespace arcmobile::tokenizer
