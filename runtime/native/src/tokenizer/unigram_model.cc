#include "unigram_model.h"

#include <algorithm>
#include <cstdio>

#include "utf8.h"

namespace arcmobile::tokenizer {
namespace {

constexpr double kUnknownPenalty = 10.0;
constexpr std::size_t kNowhere = static_cast<std::size_t>(-1);

// The best way to a place in the word: its last piece.
struct Step {
  std::size_t start = kNowhere;
  std::int32_t id = 0;
  double score = 0;
};

}  // namespace

UnigramModel::UnigramModel(PieceTable pieces, std::vector<double> scores, std::int32_t unknown,
                           bool byte_fallback)
    : pieces_(std::move(pieces)),
      scores_(std::move(scores)),
      unknown_(unknown),
      unknown_score_(*std::min_element(scores_.begin(), scores_.end()) - kUnknownPenalty),
      byte_fallback_(byte_fallback) {
  for (std::size_t byte = 0; byte < byte_pieces_.size(); ++byte) {
    char name[8];
    std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte & 0xFF));
    byte_pieces_[byte] = pieces_.find(name);
  }
}

void UnigramModel::encode(std::string_view word, std::vector<std::int32_t>& ids) const {
  std::vector<Step> best(word.size() + 1);  // by end
  best[0].start = 0;
  const auto offer = [&](std::size_t start, std::size_t end, std::int32_t id, double score) {
    const double sum = score + best[start].score;
    if (best[end].start == kNowhere || sum > best[end].score) best[end] = {start, id, sum};
  };
  for (std::size_t start = 0; start < word.size();) {
    const std::size_t character_end = start + code_point_at(word, start).size;
    bool covered = false;
    PieceTable::Prefix prefix = pieces_.all();
    for (std::size_t end = start; end < word.size() && prefix.extend(word[end]); ++end) {
      const std::int32_t id = prefix.value();
      if (id == PieceTable::kNone) continue;
      offer(start, end + 1, id, scores_[static_cast<std::size_t>(id)]);
      covered = covered || end + 1 == character_end;
    }
    if (!covered) offer(start, character_end, unknown_, unknown_score_);
    start = character_end;
  }

  std::vector<std::size_t> ends;  // of the pieces, from the back
  for (std::size_t end = word.size(); end > 0; end = best[end].start) ends.push_back(end);
  for (std::size_t i = ends.size(); i > 0;) {
    const Step& step = best[ends[--i]];
    if (step.id != unknown_) {
      ids.push_back(step.id);
      continue;
    }
    while (i > 0 && best[ends[i - 1]].id == unknown_) --i;
    encode_unknown(word.substr(step.start, ends[i] - step.start), ids);
  }
}

// Joined, unknown characters may be a piece after all: one with a very low score.
void UnigramModel::encode_unknown(std::string_view text, std::vector<std::int32_t>& ids) const {
  const std::int32_t piece = pieces_.find(text);
  const auto byte_piece = [this](char c) { return byte_pieces_[static_cast<unsigned char>(c)]; };
  const bool spelt = byte_fallback_ && std::all_of(text.begin(), text.end(), [&](char c) {
                       return byte_piece(c) != PieceTable::kNone;
                     });
  if (piece != PieceTable::kNone) {
    ids.push_back(piece);
  } else if (spelt) {
    for (const char c : text) ids.push_back(byte_piece(c));
  } else {
    ids.push_back(unknown_);
  }
}

}  // namespace arcmobile::tokenizer
