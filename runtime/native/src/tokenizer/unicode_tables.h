// Unicode classes of the version that the reference library was built with; see RangeTable.
#pragma once

#include <string_view>

namespace arcmobile::tokenizer {

extern const std::string_view kGraphemeBreaks;  // classes that grapheme clusters depend on
extern const std::string_view kWordCharacters;  // Rust's `\w`

}  // namespace arcmobile::tokenizer
