// Extended grapheme clusters (Unicode Standard Annex #29), by the tables of the reference.
#pragma once

#include <cstddef>
#include <string_view>

namespace arcmobile::tokenizer {

// End of the cluster that begins at byte `start` of well-formed UTF-8.
//
// One rule is left out: that regional indicators pair up to flags (GB12, GB13). The only reader,
// CharsmapNormalizer, treats clusters of six bytes and more character by character, as separate
// clusters of one character would be. A regional indicator takes four bytes, so with anything
// beside it a cluster is that long, whether paired or not.
std::size_t grapheme_cluster_end(std::string_view text, std::size_t start);

}  // namespace arcmobile::tokenizer
