#include "tokenizer_file.h"

#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "bounds.h"
#include "errors.h"
#include "json_document.h"
#include "json_field.h"
#include "tokenizer/base64.h"
#include "tokenizer/charsmap.h"
#include "tokenizer/score.h"

namespace arcmobile::tokenizer {
namespace {

constexpr int kMostLevels = 127;              // brackets in brackets, as the reference allows
constexpr std::size_t kMostValues = 1 << 20;  // besides the vocabulary
constexpr std::size_t kLongestPiece = 256;    // bytes; real ones have 16 characters
constexpr std::size_t kMostNormalizers = 64;  // steps
constexpr std::size_t kMostTemplateIds = 1024;

// Takes the vocabulary out of the document as it is read: [[piece, score], ...], which is most of
// the file. The document has an empty list in its place.
class TokenizerBuilder : public JsonBuilder {
 public:
  TokenizerBuilder() : JsonBuilder(kMostLevels, kMostValues) {}

  PieceTable pieces;
  std::vector<double> scores;

  bool null() override { return in_vocabulary() ? no_piece() : JsonBuilder::null(); }
  bool boolean(bool value) override {
    return in_vocabulary() ? no_piece() : JsonBuilder::boolean(value);
  }
  bool number_integer(std::int64_t value) override {
    return in_vocabulary() ? score(static_cast<double>(value))
                           : JsonBuilder::number_integer(value);
  }
  bool number_unsigned(std::uint64_t value) override {
    return in_vocabulary() ? score(static_cast<double>(value))
                           : JsonBuilder::number_unsigned(value);
  }
  bool number_float(double value, const std::string& text) override {
    if (!in_vocabulary()) return JsonBuilder::number_float(value, text);
    const std::optional<double> read = read_score(text);
    return read ? score(*read) : stop("a score is out of range");
  }
  bool string(std::string& value) override {
    if (!in_vocabulary()) return JsonBuilder::string(value);
    if (place_ != Place::piece) return no_piece();
    if (value.size() > kLongestPiece) return stop("a piece is too long");
    // The reference never looks the empty piece up.
    if (!value.empty()) pieces.add(value, static_cast<std::int32_t>(scores.size()));
    place_ = Place::score;
    return true;
  }
  bool start_object(std::size_t count) override {
    return in_vocabulary() ? no_piece() : JsonBuilder::start_object(count);
  }
  bool start_array(std::size_t count) override {
    if (in_vocabulary()) {
      if (place_ != Place::between) return no_piece();
      place_ = Place::piece;
      return true;
    }
    const bool vocabulary = levels() == 2 && outer_key() == "model" && key() == "vocab";
    if (!JsonBuilder::start_array(count)) return false;
    if (vocabulary) place_ = Place::between;
    return true;
  }
  bool end_array() override {
    if (!in_vocabulary()) return JsonBuilder::end_array();
    if (place_ == Place::end) {
      place_ = Place::between;
      return true;
    }
    if (place_ != Place::between) return no_piece();
    place_ = Place::outside;
    return JsonBuilder::end_array();
  }

 private:
  enum class Place { outside, between, piece, score, end };

  bool in_vocabulary() const { return place_ != Place::outside; }

  bool no_piece() {
    return stop("piece " + std::to_string(scores.size()) + " is not [text, score]");
  }

  bool score(double value) {
    if (place_ != Place::score) return no_piece();
    scores.push_back(value);
    place_ = Place::end;
    return true;
  }

  Place place_ = Place::outside;
};

[[noreturn]] void unsupported(const JsonField& field, const std::string& what) {
  field.fail(what + " is not supported, only the tokenizer of a T5 encoder");
}

std::string step_type(const JsonField& step) { return step["type"].text(); }

std::string short_text(const JsonField& field) {
  std::string text = field.text();
  if (text.size() > kLongestPiece) field.fail("is too long");
  return text;
}

Normalizer read_replace(const JsonField& step) {
  step.expect_members({"type", "pattern", "content"});
  const JsonField pattern = step["pattern"];
  pattern.expect_members({}, {"String", "Regex"});
  if (pattern.has("String") == pattern.has("Regex")) pattern.fail("must be a String or a Regex");
  const std::string content = short_text(step["content"]);
  if (pattern.has("Regex")) {
    if (pattern["Regex"].text() != " {2,}") unsupported(pattern["Regex"], "this expression");
    return replace_spaces(content);
  }
  const std::string wanted = short_text(pattern["String"]);
  if (wanted.empty()) pattern["String"].fail("must not be empty");
  return replace_text(wanted, content);
}

void read_normalizers(const JsonField& step, std::vector<Normalizer>& normalizers) {
  const std::string type = step_type(step);
  if (type == "Sequence") {
    step.expect_members({"type", "normalizers"});
    for (const JsonField& one : step["normalizers"].list(true)) read_normalizers(one, normalizers);
  } else if (type == "Precompiled") {
    step.expect_members({"type", "precompiled_charsmap"});
    const JsonField field = step["precompiled_charsmap"];
    const std::optional<std::string> table = decode_base64(field.text());
    if (!table) field.fail("is not base64");
    try {
      const auto charsmap = std::make_shared<Charsmap>(*table);
      normalizers.push_back(
          [charsmap](const NormalizedText& input) { return charsmap->normalize(input); });
    } catch (const std::invalid_argument& error) {
      field.fail(error.what());
    }
  } else if (type == "Strip") {
    step.expect_members({"type", "strip_left", "strip_right"});
    normalizers.push_back(strip(step["strip_left"].flag(), step["strip_right"].flag()));
  } else if (type == "Replace") {
    normalizers.push_back(read_replace(step));
  } else {
    unsupported(step["type"], "'" + type.substr(0, kLongestPiece) + "'");
  }
  if (normalizers.size() > kMostNormalizers) step.fail("too many steps");
}

Metaspace read_metaspace(const JsonField& step) {
  step.expect_members({"type", "replacement"},
                      {"prepend_scheme", "split", "add_prefix_space", "str_rep"});
  Metaspace metaspace{short_text(step["replacement"]), Metaspace::Prepend::always, true};
  if (count_code_points(metaspace.marker) != 1) step["replacement"].fail("must be one character");
  if (step.has("prepend_scheme")) {
    const std::string scheme = step["prepend_scheme"].one_of({"always", "first", "never"});
    metaspace.prepend = scheme == "always"  ? Metaspace::Prepend::always
                        : scheme == "first" ? Metaspace::Prepend::first
                                            : Metaspace::Prepend::never;
  }
  if (step.has("split")) metaspace.split = step["split"].flag();
  if (step.has("add_prefix_space") && !step["add_prefix_space"].flag() &&
      metaspace.prepend != Metaspace::Prepend::never) {
    step["add_prefix_space"].fail("contradicts prepend_scheme");
  }
  return metaspace;
}

void read_splitter_step(const JsonField& step, WordSplitter& splitter) {
  const std::string type = step_type(step);
  if (type == "WhitespaceSplit" && !splitter.split_at_space && !splitter.metaspace) {
    step.expect_members({"type"});
    splitter.split_at_space = true;
  } else if (type == "Metaspace" && !splitter.metaspace) {
    splitter.metaspace = read_metaspace(step);
  } else {
    unsupported(step["type"], "'" + type.substr(0, kLongestPiece) + "' at this place");
  }
}

WordSplitter read_splitter(const JsonField& step) {
  WordSplitter splitter;
  if (step_type(step) == "Sequence") {
    step.expect_members({"type", "pretokenizers"});
    for (const JsonField& one : step["pretokenizers"].list(true)) {
      read_splitter_step(one, splitter);
    }
  } else {
    read_splitter_step(step, splitter);
  }
  return splitter;
}

void read_template(const JsonField& step, Steps& steps) {
  if (step_type(step) != "TemplateProcessing") unsupported(step["type"], "this post_processor");
  step.expect_members({"type", "single", "special_tokens"}, {"pair"});
  bool prompt_seen = false;
  std::size_t count = 0;
  for (const JsonField& piece : step["single"].list()) {
    piece.expect_members({}, {"Sequence", "SpecialToken"});
    if (piece.has("Sequence") == piece.has("SpecialToken")) {
      piece.fail("must be a Sequence or a SpecialToken");
    }
    const JsonField reference = piece[piece.has("Sequence") ? "Sequence" : "SpecialToken"];
    reference.expect_members({"id", "type_id"});
    const std::string id = reference["id"].text();
    if (piece.has("Sequence")) {
      if (id != "A" || prompt_seen) reference["id"].fail("must be 'A', once");
      prompt_seen = true;
      continue;
    }
    const JsonField token = step["special_tokens"][id];
    token.expect_members({"id", "ids", "tokens"});
    for (const JsonField& one : token["ids"].list(true)) {
      const std::int64_t value = one.integer(0, bounds::token_id);
      if (value >= steps.vocabulary_size) one.fail("is outside the vocabulary");
      if (++count > kMostTemplateIds) step["single"].fail("too many ids");
      (prompt_seen ? steps.after : steps.before).push_back(static_cast<std::int32_t>(value));
    }
  }
  if (!prompt_seen) step["single"].fail("has no Sequence");
}

// Of a text that is there twice the last one counts; ids are those of the piece of that text, or
// the next free one, whatever the file says.
std::vector<AddedToken> read_added_tokens(const JsonField& list, Steps& steps) {
  std::vector<AddedToken> tokens;
  std::map<std::string, std::size_t> places;
  for (const JsonField& one : list.list(true)) {
    one.expect_members(
        {"id", "content", "single_word", "lstrip", "rstrip", "normalized", "special"});
    one["id"].integer(0, bounds::token_id);
    one["special"].flag();
    AddedToken token{short_text(one["content"]), one["single_word"].flag(), one["lstrip"].flag(),
                     one["rstrip"].flag(),       one["normalized"].flag(),  0};
    if (token.content.empty()) continue;  // the reference skips it
    const auto [place, fresh] = places.emplace(token.content, tokens.size());
    if (fresh) {
      tokens.push_back(std::move(token));
    } else {
      tokens[place->second] = std::move(token);
    }
  }
  for (AddedToken& token : tokens) {
    token.id = steps.model->id_of(token.content);
    if (token.id == PieceTable::kNone) token.id = steps.vocabulary_size++;
  }
  return tokens;
}

Steps read_steps(const JsonField& root, TokenizerBuilder& builder) {
  root.expect_members({"model"}, {"version", "truncation", "padding", "added_tokens", "normalizer",
                                  "pre_tokenizer", "post_processor", "decoder"});
  if (root.has("version")) root["version"].one_of({"1.0"});
  const JsonField model = root["model"];
  if (!model.has("type") || model["type"].text() != "Unigram") {
    unsupported(model, "a model that is not Unigram");
  }
  model.expect_members({"type", "vocab"}, {"unk_id", "byte_fallback"});
  model["vocab"].list(true);
  if (!model.has("unk_id")) unsupported(model, "a model without unk_id");
  const auto size = static_cast<std::int32_t>(builder.scores.size());
  const auto unknown = static_cast<std::int32_t>(model["unk_id"].integer(0, bounds::token_id));
  if (unknown >= size) model["unk_id"].fail("is outside the vocabulary");
  builder.pieces.sort();

  Steps steps{};
  steps.model = std::make_unique<UnigramModel>(
      std::move(builder.pieces), std::move(builder.scores), unknown,
      model.has("byte_fallback") && model["byte_fallback"].flag());
  steps.vocabulary_size = size;
  if (root.has("normalizer")) read_normalizers(root["normalizer"], steps.normalizers);
  if (root.has("added_tokens")) {
    const JsonField list = root["added_tokens"];
    try {
      for (const AddedToken& token : read_added_tokens(list, steps)) {
        if (token.normalized) {
          const NormalizedText pattern = apply(steps.normalizers, {token.content, 0});
          steps.normalized_tokens.add(token, pattern.text);
        } else {
          steps.literal_tokens.add(token, token.content);
        }
      }
      steps.literal_tokens.finish();
      steps.normalized_tokens.finish();
    } catch (const std::invalid_argument& error) {
      list.fail(error.what());
    }
  }
  if (root.has("pre_tokenizer")) steps.splitter = read_splitter(root["pre_tokenizer"]);
  if (root.has("post_processor")) read_template(root["post_processor"], steps);
  return steps;
}

}  // namespace

std::vector<std::int32_t> Steps::encode(std::string_view prompt) const {
  std::vector<std::int32_t> ids = before;
  const auto add_word = [&](std::string_view word) { model->encode(word, ids); };
  for (const Part& part : literal_tokens.split(NormalizedText::of_prompt(prompt))) {
    if (const auto* id = std::get_if<std::int32_t>(&part)) {
      ids.push_back(*id);
      continue;
    }
    const NormalizedText text = apply(normalizers, std::get<NormalizedText>(part));
    for (const Part& inner : normalized_tokens.split(text)) {
      if (const auto* id = std::get_if<std::int32_t>(&inner)) {
        ids.push_back(*id);
      } else {
        splitter.split(std::get<NormalizedText>(inner), add_word);
      }
    }
  }
  ids.insert(ids.end(), after.begin(), after.end());
  return ids;
}

Steps read_tokenizer_file(std::string_view text, const std::string& file) {
  TokenizerBuilder builder;
  nlohmann::json document;
  try {
    document = builder.parse(text);
  } catch (const std::invalid_argument& error) {
    throw Error(file + ": not a tokenizer (" + error.what() + "); export the bundle again");
  }
  return read_steps(JsonField(document, file), builder);
}

}  // namespace arcmobile::tokenizer
