// Walking over UTF-8 text.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace arcmobile {

struct CodePoint {
  char32_t value;
  std::size_t size;  // bytes
};

// The character at byte `at` of well-formed UTF-8.
CodePoint code_point_at(std::string_view text, std::size_t at);

// Where the character before byte `at` of well-formed UTF-8 begins; `at` is not 0.
std::size_t before(std::string_view text, std::size_t at);

std::size_t count_code_points(std::string_view text);  // of well-formed UTF-8

// Number of the first character, counted from 1, that is not well-formed UTF-8, if any.
std::optional<std::size_t> first_invalid_character(std::string_view text);

// The Unicode property White_Space, as Rust's `char::is_whitespace` has it.
bool is_unicode_space(char32_t character);

// The text with line breaks, other controls and bytes that are not UTF-8 written as escapes.
std::string on_one_line(std::string_view text);

}  // namespace arcmobile
