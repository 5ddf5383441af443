#include "tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>

#include "errors.h"

namespace arcmobile {
namespace {

using nlohmann::json;

bool is_utf8(const std::string& text) {
  return json(text).dump(-1, ' ', false, json::error_handler_t::ignore) ==
         json(text).dump(-1, ' ', false, json::error_handler_t::replace);
}

// tokenizer.json without its vocabulary, which would be large and is SentencePiece's business.
json read_without_model(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  const auto keep = [](int depth, json::parse_event_t event, const json& parsed) {
    return !(depth == 1 && event == json::parse_event_t::key && parsed == "model");
  };
  return json::parse(file, keep, false);
}

}  // namespace

PromptTokenizer::PromptTokenizer(const Tokenizer& spec)
    : spec_(spec), processor_(std::make_unique<sentencepiece::SentencePieceProcessor>()) {
  const std::string mend = ": not a tokenizer; export the bundle again";
  if (!processor_->Load(spec.sentencepiece_path).ok()) throw Error(spec.sentencepiece_path + mend);
  const json document = read_without_model(spec.json_path);
  if (document.is_discarded() || !document.is_object()) throw Error(spec.json_path + mend);
  for (const json& token : document.value("added_tokens", json::array())) {
    if (!token.is_object() || !token.contains("content") || !token["content"].is_string() ||
        !token.contains("id") || !token["id"].is_number_integer() || token["content"].empty()) {
      throw Error(spec.json_path + mend);
    }
    special_.push_back({token["content"].get<std::string>(), token["id"].get<std::int32_t>()});
  }
  std::sort(special_.begin(), special_.end(), [](const auto& one, const auto& other) {
    return one.text.size() > other.text.size();
  });
}

PromptTokenizer::~PromptTokenizer() = default;

std::vector<std::int32_t> PromptTokenizer::encode(const std::string& prompt) const {
  std::vector<std::int32_t> ids;
  std::size_t begin = 0;
  for (std::size_t at = 0; at < prompt.size();) {
    const auto found = std::find_if(special_.begin(), special_.end(), [&](const auto& token) {
      return prompt.compare(at, token.text.size(), token.text) == 0;
    });
    if (found == special_.end()) {
      ++at;
      continue;
    }
    append_text(prompt.substr(begin, at - begin), ids);
    ids.push_back(found->id);
    begin = at += found->text.size();
  }
  append_text(prompt.substr(begin), ids);
  ids.push_back(spec_.eos_id);
  return ids;
}

void PromptTokenizer::append_text(const std::string& text, std::vector<std::int32_t>& ids) const {
  std::vector<int> pieces;
  if (!processor_->Encode(text, &pieces).ok()) throw Error("prompt: cannot be tokenized");
  ids.insert(ids.end(), pieces.begin(), pieces.end());
}

TokenizedPrompt PromptTokenizer::operator()(const std::string& prompt) const {
  if (!is_utf8(prompt)) throw Error("prompt: not valid Unicode; give UTF-8 text");
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
