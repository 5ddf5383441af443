// JSON from outside, read strictly: bounded in size and depth, no key twice, no byte order mark.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace arcmobile {

// Builds the document while it is parsed; stops at the first error.
// A subclass may take a part of the document out by handling its events itself.
class JsonBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  using json = nlohmann::json;

  JsonBuilder(std::int64_t most_levels, std::size_t most_values)
      : most_levels_(static_cast<std::size_t>(most_levels)), values_left_(most_values) {}

  // The document of `text`. Throws std::invalid_argument saying what is wrong.
  json parse(std::string_view text);

  bool null() override { return put(nullptr); }
  bool boolean(bool value) override { return put(value); }
  bool number_integer(std::int64_t value) override { return put(value); }
  bool number_unsigned(std::uint64_t value) override { return put(value); }
  bool number_float(double value, const std::string& text) override;
  bool string(std::string& value) override { return put(std::move(value)); }
  bool binary(json::binary_t&) override { return stop("holds binary data"); }
  bool start_object(std::size_t) override { return open(json::object()); }
  bool key(std::string& name) override;
  bool end_object() override { return close(); }
  bool start_array(std::size_t) override { return open(json::array()); }
  bool end_array() override { return close(); }
  bool parse_error(std::size_t position, const std::string&,
                   const nlohmann::detail::exception& error) override;

 protected:
  // Ends the parse; the message says where.
  bool stop(const std::string& problem);

  // Brackets that are open, and the key of the value that follows, if its parent is an object.
  std::size_t levels() const { return open_.size(); }
  const std::string& key() const { return keys_.back(); }
  const std::string& outer_key() const { return keys_[keys_.size() - 2]; }

  bool put(json value);
  bool open(json container);
  bool close();

 private:
  std::size_t most_levels_;
  std::size_t values_left_;
  json root_;
  std::vector<json*> open_;
  std::vector<std::string> keys_;  // of each open bracket, the latest
  std::string problem_;
};

// A file of at most `most_bytes`, read whole. Throws Error.
std::string read_small_file(const std::string& path, std::int64_t most_bytes);

}  // namespace arcmobile
