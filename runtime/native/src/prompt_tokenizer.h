// T5 tokenization of prompts, with the ids that the `tokenizers` library gives in Python.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "bundle.h"
#include "tokenizer/tokenizer_file.h"

namespace arcmobile {

// What the conditioner takes: ids and mask of max_length, 1 = token, 0 = padding.
struct TokenizedPrompt {
  std::vector<std::int32_t> input_ids;
  std::vector<float> attention_mask;
  std::size_t count;    // tokens with the closing </s>, before truncation
  std::string warning;  // empty, or that the prompt was cut
};

// Throws Error for text that is not UTF-8, or too long to be read.
void check_prompt(const std::string& prompt);

class PromptTokenizer {
 public:
  // Reads the bundle's tokenizer.json. Throws Error where it is broken, or the ids that the
  // manifest names are outside its vocabulary.
  explicit PromptTokenizer(const Tokenizer& spec);

  // Throws Error as check_prompt does.
  TokenizedPrompt operator()(const std::string& prompt) const;

  // Ids of the whole prompt with the closing </s>, neither cut nor padded.
  std::vector<std::int32_t> encode(const std::string& prompt) const;

 private:
  Tokenizer spec_;
  tokenizer::Steps steps_;
};

}  // namespace arcmobile
