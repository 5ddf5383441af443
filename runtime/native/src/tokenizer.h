// T5 tokenization of prompts: SentencePiece for the text, the bundle's list for special tokens.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "bundle.h"

namespace sentencepiece {
class SentencePieceProcessor;
}

namespace arcmobile {

// What the conditioner takes: ids and mask of max_length, 1 = token, 0 = padding.
struct TokenizedPrompt {
  std::vector<std::int32_t> input_ids;
  std::vector<float> attention_mask;
  std::size_t count;    // tokens with the closing </s>, before truncation
  std::string warning;  // empty, or that the prompt was cut
};

class PromptTokenizer {
 public:
  // Throws Error for a file that is no tokenizer.
  explicit PromptTokenizer(const Tokenizer& spec);
  ~PromptTokenizer();

  // Throws Error for text that is not UTF-8.
  TokenizedPrompt operator()(const std::string& prompt) const;

  // Ids of the whole prompt with the closing </s>, neither cut nor padded.
  std::vector<std::int32_t> encode(const std::string& prompt) const;

 private:
  struct SpecialToken {
    std::string text;
    std::int32_t id;
  };

  void append_text(const std::string& text, std::vector<std::int32_t>& ids) const;

  Tokenizer spec_;
  std::unique_ptr<sentencepiece::SentencePieceProcessor> processor_;
  std::vector<SpecialToken> special_;  // longest first
};

}  // namespace arcmobile
