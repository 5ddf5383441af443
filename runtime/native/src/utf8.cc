#include "utf8.h"

#include <cstdio>

namespace arcmobile {
namespace {

unsigned byte_at(std::string_view text, std::size_t at) {
  return static_cast<unsigned char>(text[at]);
}

// Bytes of the well-formed character at `at`; 0 where there is none.
std::size_t well_formed_size(std::string_view text, std::size_t at) {
  const unsigned first = byte_at(text, at);
  if (first < 0x80) return 1;
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() - at < size) return 0;
  for (std::size_t i = 1; i < size; ++i) {
    if ((byte_at(text, at + i) & 0xC0) != 0x80) return 0;
  }
  const char32_t value = code_point_at(text, at).value;
  const bool overlong = (size == 3 && value < 0x800) || (size == 4 && value < 0x10000);
  const bool surrogate = value >= 0xD800 && value <= 0xDFFF;
  return overlong || surrogate || value > 0x10FFFF ? 0 : size;
}

}  // namespace

CodePoint code_point_at(std::string_view text, std::size_t at) {
  const unsigned first = byte_at(text, at);
  if (first < 0x80) return {first, 1};
  const std::size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  char32_t value = first & (0xFFu >> (size + 1));
  for (std::size_t i = 1; i < size; ++i) value = value << 6 | (byte_at(text, at + i) & 0x3F);
  return {value, size};
}

std::size_t before(std::string_view text, std::size_t at) {
  do --at;
  while (at > 0 && (byte_at(text, at) & 0xC0) == 0x80);
  return at;
}

std::size_t count_code_points(std::string_view text) {
  std::size_t count = 0;
  for (const char c : text) count += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
  return count;
}

std::optional<std::size_t> first_invalid_character(std::string_view text) {
  std::size_t number = 1;
  for (std::size_t at = 0; at < text.size(); ++number) {
    const std::size_t size = well_formed_size(text, at);
    if (size == 0) return number;
    at += size;
  }
  return std::nullopt;
}

bool is_unicode_space(char32_t character) {
  return (character >= 0x09 && character <= 0x0D) || character == 0x20 || character == 0x85 ||
         character == 0xA0 || character == 0x1680 || (character >= 0x2000 && character <= 0x200A) ||
         character == 0x2028 || character == 0x2029 || character == 0x202F || character == 0x205F ||
         character == 0x3000;
}

std::string on_one_line(std::string_view text) {
  std::string line;
  const auto escape = [&line](const char* format, unsigned value) {
    char escaped[16];
    std::snprintf(escaped, sizeof escaped, format, value);
    line += escaped;
  };
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = well_formed_size(text, at);
    if (size == 0) {
      escape("\\x%02x", byte_at(text, at++));
      continue;
    }
    const char32_t value = code_point_at(text, at).value;
    const bool control = value < 0x20 || (value >= 0x7F && value < 0xA0);
    if (control || value == 0x2028 || value == 0x2029) {
      escape(value < 0x100 ? "\\x%02x" : "\\u%04x", static_cast<unsigned>(value));
    } else {
      line += text.substr(at, size);
    }
    at += size;
  }
  return line;
}

}  // namespace arcmobile
