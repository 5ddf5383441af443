#include "normalizers.h"

#include <algorithm>

namespace arcmobile::tokenizer {
namespace {

struct Match {
  std::size_t begin;  // npos: none
  std::size_t end;
};

// What is put in the place of a match is aligned with the last character of the match.
template <typename Next>
NormalizedText replacing(const NormalizedText& input, const std::string& content,
                         const Next& next) {
  NormalizedText result;
  std::size_t done = 0;
  const auto keep = [&](std::size_t end) {
    append(result.text, std::string_view(input.text).substr(done, end - done));
    result.head += std::min(std::max(input.head, done), end) - done;
  };
  for (Match match = next(0); match.begin != std::string::npos; match = next(done)) {
    keep(match.begin);
    append(result.text, content);
    if (match.end - 1 < input.head) result.head += content.size();
    done = match.end;
  }
  keep(input.text.size());
  return result;
}

}  // namespace

NormalizedText apply(const std::vector<Normalizer>& normalizers, NormalizedText text) {
  for (const Normalizer& normalizer : normalizers) text = normalizer(text);
  return text;
}

Normalizer strip(bool left, bool right) {
  return [left, right](const NormalizedText& input) {
    const std::string_view text = input.text;
    std::size_t start = 0, end = text.size();
    while (left && start < end && is_unicode_space(code_point_at(text, start).value)) {
      start += code_point_at(text, start).size;
    }
    while (right && end > start) {
      const std::size_t last = before(text, end);
      if (!is_unicode_space(code_point_at(text, last).value)) break;
      end = last;
    }
    return input.slice(start, end);
  };
}

Normalizer replace_text(std::string pattern, std::string content) {
  return [pattern = std::move(pattern), content = std::move(content)](const NormalizedText& input) {
    return replacing(input, content, [&](std::size_t from) {
      const std::size_t begin = input.text.find(pattern, from);
      return Match{begin, begin + pattern.size()};
    });
  };
}

Normalizer replace_spaces(std::string content) {
  return [content = std::move(content)](const NormalizedText& input) {
    return replacing(input, content, [&](std::size_t from) {
      const std::size_t begin = input.text.find("  ", from);
      return Match{begin, std::min(input.text.find_first_not_of(' ', begin), input.text.size())};
    });
  };
}

}  // namespace arcmobile::tokenizer
