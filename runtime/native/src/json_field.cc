#include "json_field.h"

#include <algorithm>

#include "errors.h"

namespace arcmobile {
namespace {

constexpr std::size_t kShown = 120;  // bytes of a value in a message

std::string shown(const std::string& text) {
  return text.size() <= kShown ? text : text.substr(0, kShown) + "...";
}

bool holds(std::initializer_list<const char*> names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

void JsonField::fail(const std::string& problem) const {
  throw Error(file_ + ": " + (path_.empty() ? "" : path_ + ": ") + problem +
              "; export the bundle again");
}

JsonField JsonField::member(const std::string& key, const nlohmann::json& value) const {
  return {value, file_, path_.empty() ? shown(key) : path_ + "." + shown(key)};
}

void JsonField::expect_members(std::initializer_list<const char*> required,
                               std::initializer_list<const char*> optional) const {
  if (!value_->is_object()) fail("must be an object");
  for (const char* name : required) (*this)[name];
  for (const auto& [name, value] : value_->items()) {
    if (!holds(required, name) && !holds(optional, name)) {
      member(name, value).fail("unknown field");
    }
  }
}

JsonField JsonField::operator[](const std::string& key) const {
  if (!value_->is_object()) fail("must be an object");
  const auto found = value_->find(key);
  if (found == value_->end()) member(key, *value_).fail("is missing");
  return member(key, *found);
}

bool JsonField::has(const std::string& key) const {
  if (!value_->is_object()) return false;
  const auto found = value_->find(key);
  return found != value_->end() && !found->is_null();
}

std::vector<JsonField> JsonField::list(bool may_be_empty) const {
  if (!value_->is_array()) fail("must be a list");
  if (value_->empty() && !may_be_empty) fail("must not be empty");
  std::vector<JsonField> items;
  for (std::size_t i = 0; i < value_->size(); ++i) {
    items.push_back(JsonField((*value_)[i], file_, path_ + "[" + std::to_string(i) + "]"));
  }
  return items;
}

std::vector<std::pair<std::string, JsonField>> JsonField::members() const {
  if (!value_->is_object()) fail("must be an object");
  std::vector<std::pair<std::string, JsonField>> found;
  for (const auto& [name, value] : value_->items()) found.emplace_back(name, member(name, value));
  return found;
}

std::string JsonField::text() const {
  if (!value_->is_string()) fail("must be a string");
  return value_->get<std::string>();
}

std::string JsonField::one_of(std::initializer_list<const char*> known,
                              const char* way_out) const {
  const std::string found = text();
  if (holds(known, found)) return found;
  std::string names;
  for (const char* name : known) names += (names.empty() ? "" : ", ") + std::string(name);
  const std::string problem = "is '" + shown(found) + "', this runner knows " + names;
  if (way_out == nullptr) fail(problem);
  throw Error(file_ + ": " + path_ + ": " + problem + "; " + way_out);
}

bool JsonField::flag() const {
  if (!value_->is_boolean()) fail("must be true or false");
  return value_->get<bool>();
}

double JsonField::number() const {
  if (!value_->is_number()) fail("must be a number");
  return value_->get<double>();
}

std::int64_t JsonField::integer(std::int64_t least, std::int64_t most) const {
  if (!value_->is_number_integer()) fail("must be an integer");
  const bool large = value_->is_number_unsigned() &&
                     value_->get<std::uint64_t>() > static_cast<std::uint64_t>(most);
  const auto number = large ? most : value_->get<std::int64_t>();
  if (large || number < least || number > most) {
    fail("is out of range, must be " + std::to_string(least) + " to " + std::to_string(most));
  }
  return number;
}

}  // namespace arcmobile
