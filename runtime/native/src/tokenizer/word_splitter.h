// Cuts text into the words that the model sees.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>

#include "tokenizer/normalized_text.h"

namespace arcmobile::tokenizer {

// `Metaspace`: spaces become `marker`, one character, and a text that lacks it at its beginning
// gets one: always, at the beginning of the prompt only, or never.
struct Metaspace {
  enum class Prepend { always, first, never };

  std::string marker;
  Prepend prepend;
  bool split;  // before every marker; else the text stays whole
};

struct WordSplitter {
  bool split_at_space = false;
  std::optional<Metaspace> metaspace;

  // Calls `word` for each, in order; none is empty.
  void split(const NormalizedText& input, const std::function<void(std::string_view)>& word) const;

 private:
  void mark(const NormalizedText& input, const std::function<void(std::string_view)>& word) const;
};

}  // namespace arcmobile::tokenizer
