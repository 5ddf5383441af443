// A value of a JSON document with its path, so that every error names its place.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <vector>

namespace arcmobile {

// Every reader throws Error where the value is not of its kind, naming file, field and the way out.
// Refers to the JSON document, which has to outlive it.
class JsonField {
 public:
  // `file` is the document's, for messages.
  JsonField(const nlohmann::json& document, std::string file)
      : value_(&document), file_(std::move(file)) {}

  [[noreturn]] void fail(const std::string& problem) const;

  // An object with these members and no others.
  void expect_members(std::initializer_list<const char*> required,
                      std::initializer_list<const char*> optional = {}) const;

  JsonField operator[](const std::string& key) const;
  bool has(const std::string& key) const;  // false for null
  std::vector<JsonField> list(bool may_be_empty = false) const;
  std::vector<std::pair<std::string, JsonField>> members() const;  // of an object, by name
  std::string text() const;
  std::string one_of(std::initializer_list<const char*> known, const char* way_out = nullptr) const;
  bool flag() const;
  double number() const;
  std::int64_t integer(std::int64_t least, std::int64_t most) const;

  const nlohmann::json& value() const { return *value_; }

 private:
  JsonField(const nlohmann::json& value, std::string file, std::string path)
      : value_(&value), file_(std::move(file)), path_(std::move(path)) {}
  JsonField member(const std::string& key, const nlohmann::json& value) const;

  const nlohmann::json* value_;
  std::string file_;
  std::string path_;  // audio.channels; empty: the document itself
};

}  // namespace arcmobile
