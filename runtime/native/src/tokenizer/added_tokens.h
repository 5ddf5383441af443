// Texts that are tokens wherever they stand.
#pragma once

#include <cstdint>
#include <string>
#include <variant>
#include <vector>

#include "tokenizer/normalized_text.h"
#include "tokenizer/piece_table.h"

namespace arcmobile::tokenizer {

struct AddedToken {
  std::string content;
  bool single_word;  // only where no word character touches it
  bool strip_left;   // with the white space before it
  bool strip_right;  // with the white space after it
  bool normalized;   // matched in normalized text, by its own normalized form
  std::int32_t id;
};

// A part of the prompt: text, or the id of a token that was found in it.
using Part = std::variant<NormalizedText, std::int32_t>;

// Finds added tokens: the leftmost first, of those that begin there the longest.
class AddedTokens {
 public:
  // `pattern` is what of the token is looked for. Throws std::invalid_argument for an empty one and
  // one that is there already.
  void add(const AddedToken& token, const std::string& pattern);
  void finish();  // after the last of them

  // The parts of the text in order, without empty ones.
  std::vector<Part> split(const NormalizedText& input) const;

 private:
  std::vector<AddedToken> tokens_;
  PieceTable patterns_;
};

}  // namespace arcmobile::tokenizer
