// Unigram language model: of all ways to cut a word into pieces, the one with the highest score.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>
#include <vector>

#include "tokenizer/piece_table.h"

namespace arcmobile::tokenizer {

// Sums are built from the left in float64 and the first of equals stays, shorter pieces before
// longer ones: ties between, say, `a·aa` and `aa·a` are settled by the last bit.
class UnigramModel {
 public:
  // `scores` by id, not empty; `unknown` is the id of what no piece covers, of which characters
  // that follow each other become one. With `byte_fallback` unknown text is spelt in pieces <0x00>
  // to <0xFF> where all its bytes have one.
  UnigramModel(PieceTable pieces, std::vector<double> scores, std::int32_t unknown,
               bool byte_fallback);

  std::int32_t size() const { return static_cast<std::int32_t>(scores_.size()); }

  // The id of a piece, or PieceTable::kNone.
  std::int32_t id_of(std::string_view piece) const { return pieces_.find(piece); }

  // Appends the ids of the pieces of a word.
  void encode(std::string_view word, std::vector<std::int32_t>& ids) const;

 private:
  void encode_unknown(std::string_view text, std::vector<std::int32_t>& ids) const;

  PieceTable pieces_;
  std::vector<double> scores_;
  std::int32_t unknown_;
  double unknown_score_;
  bool byte_fallback_;
  std::array<std::int32_t, 256> byte_pieces_{};
};

}  // namespace arcmobile::tokenizer
