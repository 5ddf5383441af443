#include "added_tokens.h"

#include <stdexcept>
#include <string_view>

#include "tokenizer/range_table.h"
#include "tokenizer/unicode_tables.h"

namespace arcmobile::tokenizer {
namespace {

bool is_word(char32_t character) {
  static const RangeTable table(kWordCharacters);
  return table.class_of(character) != RangeTable::kNone;
}

bool stands_alone(std::string_view text, std::size_t start, std::size_t end) {
  if (start > 0 && is_word(code_point_at(text, before(text, start)).value)) return false;
  return end == text.size() || !is_word(code_point_at(text, end).value);
}

// Where the white space before `end` begins, but what is `done` already stays.
std::size_t space_start(std::string_view text, std::size_t end, std::size_t done) {
  while (end > done) {
    const std::size_t start = before(text, end);
    if (!is_unicode_space(code_point_at(text, start).value)) break;
    end = start;
  }
  return end;
}

std::size_t space_end(std::string_view text, std::size_t start) {
  while (start < text.size()) {
    const CodePoint next = code_point_at(text, start);
    if (!is_unicode_space(next.value)) break;
    start += next.size;
  }
  return start;
}

}  // namespace

void AddedTokens::add(const AddedToken& token, const std::string& pattern) {
  if (pattern.empty()) throw std::invalid_argument("nothing is left of an added token");
  patterns_.add(pattern, static_cast<std::int32_t>(tokens_.size()));
  tokens_.push_back(token);
}

void AddedTokens::finish() {
  if (patterns_.sort() != tokens_.size()) {
    throw std::invalid_argument("two added tokens read the same");
  }
}

std::vector<Part> AddedTokens::split(const NormalizedText& input) const {
  std::vector<Part> parts;
  const std::string_view text = input.text;
  std::size_t done = 0;
  for (std::size_t at = 0; at < text.size();) {
    std::int32_t index = PieceTable::kNone;
    std::size_t end = at;
    PieceTable::Prefix prefix = patterns_.all();
    for (std::size_t next = at; next < text.size() && prefix.extend(text[next]); ++next) {
      if (prefix.value() == PieceTable::kNone) continue;
      index = prefix.value();
      end = next + 1;
    }
    if (index == PieceTable::kNone) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[static_cast<std::size_t>(index)];
    if (!token.single_word || stands_alone(text, at, end)) {
      const std::size_t start = token.strip_left ? space_start(text, at, done) : at;
      const std::size_t stop = token.strip_right ? space_end(text, end) : end;
      if (done < start) parts.emplace_back(input.slice(done, start));
      if (start < stop) parts.emplace_back(token.id);
      done = stop;
    }
    at = end;
  }
  if (done < text.size()) parts.emplace_back(input.slice(done, text.size()));
  return parts;
}

}  // namespace arcmobile::tokenizer
