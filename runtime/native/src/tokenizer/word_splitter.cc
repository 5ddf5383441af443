#include "word_splitter.h"

namespace arcmobile::tokenizer {

void WordSplitter::split(const NormalizedText& input,
                         const std::function<void(std::string_view)>& word) const {
  if (!split_at_space) return mark(input, word);
  const std::string_view text = input.text;
  std::size_t start = 0;
  for (std::size_t at = 0; at <= text.size();) {
    const CodePoint next = at < text.size() ? code_point_at(text, at) : CodePoint{U' ', 1};
    if (is_unicode_space(next.value)) {
      if (start < at) mark(input.slice(start, at), word);
      start = at + next.size;
    }
    at += next.size;
  }
}

void WordSplitter::mark(const NormalizedText& input,
                        const std::function<void(std::string_view)>& word) const {
  if (!metaspace) return word(input.text);
  const std::string& marker = metaspace->marker;
  const bool prepends = metaspace->prepend == Metaspace::Prepend::always ||
                        (metaspace->prepend == Metaspace::Prepend::first && input.head > 0);
  std::string marked;
  for (const char c : input.text) {
    if (c == ' ') {
      marked += marker;
    } else {
      marked += c;
    }
  }
  if (prepends && marked.compare(0, marker.size(), marker) != 0) marked.insert(0, marker);
  if (!metaspace->split) return word(marked);
  for (std::size_t start = 0; start < marked.size();) {
    const std::size_t end = std::min(marked.find(marker, start + 1), marked.size());
    word(std::string_view(marked).substr(start, end - start));
    start = end;
  }
}

}  // namespace arcmobile::tokenizer
