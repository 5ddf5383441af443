// Scores of a vocabulary as the reference reads them.
#pragma once

#include <optional>
#include <string_view>

namespace arcmobile::tokenizer {

// A JSON number as the float64 that the `tokenizers` library reads; nothing where it is too large.
//
// Its JSON reader takes the digits as an integer, rounds that to float64 and scales it by a power
// of ten: for the 16 digits of a score the result is often the neighbour of the closest float64.
// Cuts of equal score compete (`a·aa`, `aa·a`), so the last bit counts, and std::strtod will not do.
std::optional<double> read_score(std::string_view number);

}  // namespace arcmobile::tokenizer
