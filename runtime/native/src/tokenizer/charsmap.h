// `Precompiled`: the normalization rules of a SentencePiece model, as the reference applies them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/normalized_text.h"

namespace arcmobile::tokenizer {

// The table is a double array (its size in bytes, then uint32 units) that maps UTF-8 texts to
// offsets in the rest, where the replacements stand, each closed by a NUL. The behaviour of the
// `tokenizers` library is not that of SentencePiece, and is kept to the letter: a grapheme cluster
// of up to five bytes is looked up as a whole, and of what matches, the *shortest* beginning
// replaces all of it, so that "fi" ligature + accent loses its accent. Longer clusters, and those
// that do not match, are looked up character by character.
class Charsmap {
 public:
  // Throws std::invalid_argument for a table that is cut off.
  explicit Charsmap(std::string_view table);

  // Throws std::invalid_argument where the text leads out of a damaged table.
  NormalizedText normalize(const NormalizedText& input) const;

 private:
  std::optional<std::string_view> find(std::string_view text) const;
  std::string_view replacement_at(std::size_t offset) const;
  std::uint32_t unit(std::size_t index) const;

  std::vector<std::uint32_t> units_;
  std::string replacements_;
};

}  // namespace arcmobile::tokenizer
