// The steps that a tokenizer.json of a T5 text encoder asks for.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/added_tokens.h"
#include "tokenizer/normalizers.h"
#include "tokenizer/unigram_model.h"
#include "tokenizer/word_splitter.h"

namespace arcmobile::tokenizer {

// From text to ids, in the order of the members.
struct Steps {
  AddedTokens literal_tokens;
  std::vector<Normalizer> normalizers;
  AddedTokens normalized_tokens;
  WordSplitter splitter;
  std::unique_ptr<UnigramModel> model;
  std::vector<std::int32_t> before;  // ids that are put before those of the prompt
  std::vector<std::int32_t> after;
  std::int32_t vocabulary_size;  // pieces and added tokens

  // All ids of a prompt, well-formed UTF-8, and those that are put around them. Throws
  // std::invalid_argument where the file turns out to be damaged, or the text becomes too long.
  std::vector<std::int32_t> encode(std::string_view prompt) const;
};

// Reads the text of a tokenizer.json; `file` names it in messages. Throws Error for one that is
// broken, or asks for an unknown step. None is skipped: other ids are other sounds.
Steps read_tokenizer_file(std::string_view text, const std::string& file);

}  // namespace arcmobile::tokenizer
