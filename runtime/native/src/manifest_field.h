// A value of the manifest with the way to it, so that every complaint says where.
#pragma once

#include <limits>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace arcmobile {

// Every reader throws Error where the value is not of its kind, naming file, field and mend.
// Refers to the JSON document, which has to outlive it.
class ManifestField {
 public:
  ManifestField(const nlohmann::json& value, std::string where)
      : value_(&value), where_(std::move(where)) {}

  [[noreturn]] void fail(const std::string& problem) const;

  ManifestField operator[](const std::string& key) const;
  bool has(const std::string& key) const;  // false for null
  std::vector<ManifestField> list(bool may_be_empty = false) const;
  std::string text() const;
  double number() const;
  int integer(int least, int most = std::numeric_limits<int>::max()) const;

  void expect(const std::string& wanted, const std::string& mend) const;

 private:
  const nlohmann::json* value_;
  std::string where_;
};

}  // namespace arcmobile
