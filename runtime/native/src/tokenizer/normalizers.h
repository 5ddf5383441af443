// The steps that rewrite text before it is split into words.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "tokenizer/normalized_text.h"

namespace arcmobile::tokenizer {

using Normalizer = std::function<NormalizedText(const NormalizedText&)>;

NormalizedText apply(const std::vector<Normalizer>& normalizers, NormalizedText text);

// `Strip`: drops white space at the ends.
Normalizer strip(bool left, bool right);

// `Replace` of a text, not empty: every occurrence becomes `content`.
Normalizer replace_text(std::string pattern, std::string content);

// `Replace` of the expression ` {2,}`: two and more spaces become `content`.
Normalizer replace_spaces(std::string content);

}  // namespace arcmobile::tokenizer
