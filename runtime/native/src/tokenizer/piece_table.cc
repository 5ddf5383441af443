#include "piece_table.h"

#include <algorithm>

namespace arcmobile::tokenizer {

void PieceTable::add(std::string_view text, std::int32_t value) {
  pieces_.push_back({static_cast<std::uint32_t>(texts_.size()),
                     static_cast<std::uint32_t>(text.size()), value});
  texts_ += text;
}

std::size_t PieceTable::sort() {
  // After those added before it, so that the first of equals is the last one added.
  std::sort(pieces_.begin(), pieces_.end(), [this](const Piece& one, const Piece& other) {
    const int order = text(one).compare(text(other));
    return order != 0 ? order < 0 : one.begin > other.begin;
  });
  const auto same = [this](const Piece& one, const Piece& other) {
    return text(one) == text(other);
  };
  pieces_.erase(std::unique(pieces_.begin(), pieces_.end(), same), pieces_.end());
  return pieces_.size();
}

bool PieceTable::Prefix::extend(char byte) {
  const auto begin = table_->pieces_.begin() + static_cast<std::ptrdiff_t>(begin_);
  const auto end = table_->pieces_.begin() + static_cast<std::ptrdiff_t>(end_);
  const auto wanted = static_cast<unsigned char>(byte);
  // -1 for the piece that ends here, which comes first.
  const auto next = [this](const Piece& piece) {
    return piece.size <= length_
               ? -1
               : static_cast<unsigned char>(table_->texts_[piece.begin + length_]);
  };
  const auto first = std::partition_point(
      begin, end, [&](const Piece& piece) { return next(piece) < wanted; });
  const auto last = std::partition_point(
      first, end, [&](const Piece& piece) { return next(piece) <= wanted; });
  begin_ = static_cast<std::size_t>(first - table_->pieces_.begin());
  end_ = static_cast<std::size_t>(last - table_->pieces_.begin());
  ++length_;
  return begin_ < end_;
}

std::int32_t PieceTable::Prefix::value() const {
  if (begin_ == end_) return kNone;
  const Piece& first = table_->pieces_[begin_];
  return first.size == length_ ? first.value : kNone;
}

std::int32_t PieceTable::find(std::string_view text) const {
  Prefix prefix = all();
  for (const char byte : text) {
    if (!prefix.extend(byte)) return kNone;
  }
  return prefix.value();
}

}  // namespace arcmobile::tokenizer
