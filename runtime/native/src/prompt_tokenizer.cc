#include "prompt_tokenizer.h"

#include <algorithm>
#include <stdexcept>

#include "bounds.h"
#include "errors.h"
#include "json_document.h"
#include "utf8.h"

namespace arcmobile {

void check_prompt(const std::string& prompt) {
  if (static_cast<std::int64_t>(prompt.size()) > bounds::prompt_bytes) {
    throw Error("prompt: has " + std::to_string(prompt.size()) + " bytes; give at most " +
                std::to_string(bounds::prompt_bytes));
  }
  if (const auto number = first_invalid_character(prompt)) {
    throw Error("prompt: character " + std::to_string(*number) +
                " is not valid Unicode; give UTF-8 text");
  }
}

PromptTokenizer::PromptTokenizer(const Tokenizer& spec)
    : spec_(spec),
      steps_(tokenizer::read_tokenizer_file(
          read_small_file(spec.json_path, bounds::tokenizer_bytes), spec.json_path)) {
  for (const auto& [name, id] : {std::pair("pad_id", spec.pad_id), {"eos_id", spec.eos_id}}) {
    if (id >= steps_.vocabulary_size) {
      throw Error(spec.json_path + ": has no token " + std::to_string(id) +
                  ", which the manifest gives as tokenizer." + name + "; export the bundle again");
    }
  }
}

std::vector<std::int32_t> PromptTokenizer::encode(const std::string& prompt) const {
  try {
    return steps_.encode(prompt);
  } catch (const std::invalid_argument& error) {
    throw Error(spec_.json_path + ": cannot tokenize this prompt (" + error.what() +
                "); shorten it or export the bundle again");
  }
}

TokenizedPrompt PromptTokenizer::operator()(const std::string& prompt) const {
  check_prompt(prompt);
  std::vector<std::int32_t> ids = encode(prompt);
  const auto length = static_cast<std::size_t>(spec_.max_length);
  TokenizedPrompt result{{}, std::vector<float>(length, 0.0f), ids.size(), ""};
  if (ids.size() > length) {
    ids.resize(length);
    ids.back() = spec_.eos_id;
    result.warning = "the prompt has " + std::to_string(result.count) +
                     " tokens; the model reads the first " + std::to_string(length - 1) +
                     ", the rest was cut off";
  }
  // By position, not by id: a literal "<pad>" in the prompt is a token like any other.
  std::fill_n(result.attention_mask.begin(), ids.size(), 1.0f);
  ids.resize(length, spec_.pad_id);
  result.input_ids = std::move(ids);
  return result;
}

}  // namespace arcmobile
