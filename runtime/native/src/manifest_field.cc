#include "manifest_field.h"

#include "errors.h"

namespace arcmobile {

void ManifestField::fail(const std::string& problem) const {
  throw Error(where_ + ": " + problem + "; export the bundle again");
}

ManifestField ManifestField::operator[](const std::string& key) const {
  const auto found = value_->is_object() ? value_->find(key) : value_->end();
  if (!value_->is_object() || found == value_->end()) fail("has no " + key);
  return {*found, where_ + "." + key};
}

bool ManifestField::has(const std::string& key) const {
  return value_->is_object() && value_->contains(key) && !(*value_)[key].is_null();
}

std::vector<ManifestField> ManifestField::list(bool may_be_empty) const {
  if (!value_->is_array() || (value_->empty() && !may_be_empty)) fail("is no list of values");
  std::vector<ManifestField> items;
  for (std::size_t i = 0; i < value_->size(); ++i) {
    items.emplace_back((*value_)[i], where_ + "[" + std::to_string(i) + "]");
  }
  return items;
}

std::string ManifestField::text() const {
  if (!value_->is_string()) fail("is no text");
  return value_->get<std::string>();
}

double ManifestField::number() const {
  if (!value_->is_number()) fail("is no number");
  return value_->get<double>();
}

int ManifestField::integer(int least, int most) const {
  if (!value_->is_number_integer()) fail("is no whole number");
  const bool large = value_->is_number_unsigned() &&
                     value_->get<std::uint64_t>() > static_cast<std::uint64_t>(most);
  const auto number = large ? std::int64_t{most} + 1 : value_->get<std::int64_t>();
  if (number < least || number > most) fail("is out of range");
  return static_cast<int>(number);
}

void ManifestField::expect(const std::string& wanted, const std::string& mend) const {
  if (text() != wanted) fail("is " + text() + ", this runner knows " + wanted + "; " + mend);
}

}  // namespace arcmobile
