// Texts with a number each, found by their beginnings.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace arcmobile::tokenizer {

// A sorted list: 12 bytes a piece besides its text, whatever the pieces are.
class PieceTable {
 public:
  static constexpr std::int32_t kNone = -1;

  // The pieces that begin with a text.
  class Prefix {
   public:
    // Narrows it to those that go on with `byte`; false where there are none.
    bool extend(char byte);
    // The value of the piece that ends here, or kNone.
    std::int32_t value() const;

   private:
    friend class PieceTable;
    explicit Prefix(const PieceTable& table) : table_(&table), end_(table.pieces_.size()) {}

    const PieceTable* table_;
    std::size_t begin_ = 0;
    std::size_t end_;
    std::size_t length_ = 0;
  };

  // Before `sort`. Of equal texts the last one counts.
  void add(std::string_view text, std::int32_t value);
  std::size_t sort();  // number of different texts

  // After `sort`.
  Prefix all() const { return Prefix(*this); }
  std::int32_t find(std::string_view text) const;

 private:
  struct Piece {
    std::uint32_t begin;
    std::uint32_t size;
    std::int32_t value;
  };

  std::string_view text(const Piece& piece) const {
    return std::string_view(texts_).substr(piece.begin, piece.size);
  }

  std::string texts_;
  std::vector<Piece> pieces_;
};

}  // namespace arcmobile::tokenizer
