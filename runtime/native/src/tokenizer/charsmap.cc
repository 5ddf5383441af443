#include "charsmap.h"

#include <algorithm>
#include <cstring>
#include <stdexcept>

#include "tokenizer/grapheme_clusters.h"

namespace arcmobile::tokenizer {
namespace {

constexpr std::size_t kLongestCluster = 5;       // bytes of a cluster that is looked up as one
constexpr std::size_t kLongestReplacement = 64;  // bytes, of one character; NFKC's longest has 33

// Layout of a unit of the double array.
bool has_leaf(std::uint32_t unit) { return (unit >> 8 & 1) != 0; }
std::uint32_t label_of(std::uint32_t unit) { return unit & (1u << 31 | 0xFF); }
std::uint32_t children_of(std::uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); }
std::uint32_t value_of(std::uint32_t unit) { return unit & ~(1u << 31); }

[[noreturn]] void damaged() { throw std::invalid_argument("the normalizer's table is damaged"); }

[[noreturn]] void cut_off() { throw std::invalid_argument("the normalizer's table is cut off"); }

// Text being rewritten, with the reference's bookkeeping of where each new character comes from: it
// stands for the old one at its place, is inserted after the last old one, or stands for several.
class Rewriting {
 public:
  explicit Rewriting(const NormalizedText& input)
      : old_head_(count_code_points(std::string_view(input.text).substr(0, input.head))) {
    text_.reserve(input.text.size());
  }

  void keep(std::string_view character) {
    append(text_, character);
    push(character.size(), 0);
  }

  // The next `old` characters become `replacement`.
  void replace(std::size_t old, std::string_view replacement) {
    append(text_, replacement);
    std::size_t count = 0;
    for (std::size_t at = 0; at < replacement.size(); ++count) {
      const std::size_t size = code_point_at(replacement, at).size;
      push(size, count < old ? 0 : 1);
      at += size;
    }
    // With nothing before it a removal is forgotten, in the reference too.
    if (count < old && size_ > 0) change_ -= static_cast<long>(old - count);
  }

  NormalizedText result() {
    settle();
    return {std::move(text_), head_};
  }

 private:
  void push(std::size_t size, long change) {
    settle();
    size_ = size;
    change_ = change;
  }

  void settle() {
    if (size_ == 0) return;
    const std::size_t origin = change_ > 0 && consumed_ > 0 ? consumed_ - 1 : consumed_;
    if (change_ <= 0) consumed_ += static_cast<std::size_t>(1 - change_);
    if (origin < old_head_) head_ += size_;
    size_ = 0;
  }

  std::string text_;
  std::size_t old_head_;
  std::size_t head_ = 0;
  std::size_t consumed_ = 0;  // old characters
  // The latest new character: a removal after it is still to be added to it.
  std::size_t size_ = 0;
  long change_ = 0;
};

}  // namespace

Charsmap::Charsmap(std::string_view table) {
  std::uint32_t bytes = 0;
  if (table.size() < sizeof bytes) cut_off();
  std::memcpy(&bytes, table.data(), sizeof bytes);  // little-endian, as every target is
  table.remove_prefix(sizeof bytes);
  const std::size_t count = bytes / sizeof(std::uint32_t);
  if (bytes % sizeof(std::uint32_t) != 0 || count == 0 || count > table.size() / sizeof(std::uint32_t)) cut_off();
  units_.resize(count);
  std::memcpy(units_.data(), table.data(), count * sizeof(std::uint32_t));
  replacements_ = table.substr(count * sizeof(std::uint32_t));
  if (first_invalid_character(replacements_)) {
    throw std::invalid_argument("the normalizer's replacements are not UTF-8");
  }
  for (std::size_t at = 0; at < replacements_.size();) {
    const std::size_t end = std::min(replacements_.find('\0', at), replacements_.size());
    if (end - at > kLongestReplacement) {
      throw std::invalid_argument("a replacement of the normalizer is too long");
    }
    at = end + 1;
  }
}

NormalizedText Charsmap::normalize(const NormalizedText& input) const {
  const std::string_view text = input.text;
  Rewriting output(input);
  for (std::size_t start = 0; start < text.size();) {
    const std::size_t end = grapheme_cluster_end(text, start);
    const std::string_view cluster = text.substr(start, end - start);
    const auto whole = cluster.size() <= kLongestCluster ? find(cluster) : std::nullopt;
    if (whole) {
      output.replace(count_code_points(cluster), *whole);
      start = end;
      continue;
    }
    while (start < end) {
      const std::string_view character = text.substr(start, code_point_at(text, start).size);
      if (const auto replacement = find(character)) {
        output.replace(1, *replacement);
      } else {
        output.keep(character);
      }
      start += character.size();
    }
  }
  return output.result();
}

// Replacement of the shortest beginning of the text that has one.
std::optional<std::string_view> Charsmap::find(std::string_view text) const {
  std::size_t node = children_of(unit(0));
  for (const char c : text) {
    const std::uint32_t byte = static_cast<unsigned char>(c);
    if (byte == 0) return std::nullopt;  // closes every key
    node ^= byte;
    const std::uint32_t found = unit(node);
    if (label_of(found) != byte) return std::nullopt;
    node ^= children_of(found);
    if (has_leaf(found)) return replacement_at(value_of(unit(node)));
  }
  return std::nullopt;
}

std::string_view Charsmap::replacement_at(std::size_t offset) const {
  if (offset > replacements_.size()) damaged();
  const std::string_view rest = std::string_view(replacements_).substr(offset);
  const std::string_view replacement = rest.substr(0, rest.find('\0'));
  const bool inside = !replacement.empty() && (replacement[0] & 0xC0) == 0x80;
  if (inside) damaged();  // of a character
  return replacement;
}

std::uint32_t Charsmap::unit(std::size_t index) const {
  if (index >= units_.size()) damaged();
  return units_[index];
}

}  // namespace arcmobile::tokenizer
