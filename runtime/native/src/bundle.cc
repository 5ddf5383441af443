#include "bundle.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "decode_windows.h"
#include "errors.h"
#include "noise.h"
#include "sampler.h"

namespace arcmobile {
namespace {

using nlohmann::json;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kAgain = "; export the bundle again";
constexpr std::int64_t kMostElements = std::int64_t{1} << 31;  // of one tensor

// A value of the manifest with the way to it, so that every complaint says where.
class Field {
 public:
  Field(const json& value, std::string where) : value_(&value), where_(std::move(where)) {}

  [[noreturn]] void fail(const std::string& problem) const {
    throw Error(where_ + ": " + problem + kAgain);
  }

  Field operator[](const std::string& key) const {
    const auto found = value_->is_object() ? value_->find(key) : value_->end();
    if (!value_->is_object() || found == value_->end()) fail("has no " + key);
    return {*found, where_ + "." + key};
  }

  bool has(const std::string& key) const {
    return value_->is_object() && value_->contains(key) && !(*value_)[key].is_null();
  }

  std::vector<Field> list(bool may_be_empty = false) const {
    if (!value_->is_array() || (value_->empty() && !may_be_empty)) fail("is no list of values");
    std::vector<Field> items;
    for (std::size_t i = 0; i < value_->size(); ++i) {
      items.emplace_back((*value_)[i], where_ + "[" + std::to_string(i) + "]");
    }
    return items;
  }

  std::string text() const {
    if (!value_->is_string()) fail("is no text");
    return value_->get<std::string>();
  }

  double number() const {
    if (!value_->is_number()) fail("is no number");
    return value_->get<double>();
  }

  int integer(int least, int most = std::numeric_limits<int>::max()) const {
    if (!value_->is_number_integer()) fail("is no whole number");
    const bool large = value_->is_number_unsigned() &&
                       value_->get<std::uint64_t>() > static_cast<std::uint64_t>(most);
    const auto number = large ? std::int64_t{most} + 1 : value_->get<std::int64_t>();
    if (number < least || number > most) fail("is out of range");
    return static_cast<int>(number);
  }

  void expect(const std::string& wanted, const std::string& mend) const {
    if (text() != wanted) fail("is " + text() + ", this runner knows " + wanted + "; " + mend);
  }

 private:
  const json* value_;
  std::string where_;
};

bool is_plain_name(const std::string& name) {
  const auto plain = [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '.' || c == '_' || c == '-';
  };
  return !name.empty() && std::isalnum(static_cast<unsigned char>(name[0])) != 0 &&
         std::all_of(name.begin(), name.end(), plain);
}

// The path of a recorded file that is there, inside the folder, at its size.
std::string checked_file(const std::string& folder, const Field& record) {
  const std::string name = record["file"].text();
  if (!is_plain_name(name)) record["file"].fail("'" + name + "' is no plain file name");
  const std::string path = folder + "/" + name;
  struct stat entry {};
  if (lstat(path.c_str(), &entry) != 0) throw Error(path + ": missing; copy the whole bundle");
  if (!S_ISREG(entry.st_mode)) throw Error(path + ": is no plain file; copy the whole bundle");
  const double bytes = record["bytes"].number();
  if (static_cast<double>(entry.st_size) != bytes) {
    throw Error(path + ": " + std::to_string(entry.st_size) + " bytes, the manifest says " +
                std::to_string(static_cast<std::int64_t>(bytes)) + "; copy the file again");
  }
  return path;
}

std::vector<TensorSpec> read_tensors(const Field& list) {
  std::vector<TensorSpec> specs;
  for (const Field& one : list.list()) {
    TensorSpec spec{one["name"].text(), {}, Dtype::float32};
    std::int64_t elements = 1;
    for (const Field& size : one["shape"].list()) {
      spec.shape.push_back(size.integer(1));
      elements *= spec.shape.back();
      if (elements > kMostElements) one["shape"].fail("is too large");
    }
    const std::string dtype = one["dtype"].text();
    if (dtype != "float32" && dtype != "int32") one["dtype"].fail("is " + dtype);
    spec.dtype = dtype == "int32" ? Dtype::int32 : Dtype::float32;
    specs.push_back(std::move(spec));
  }
  return specs;
}

Component read_component(const std::string& folder, const Field& components,
                         const std::string& name) {
  const Field field = components[name];
  Component component{name, checked_file(folder, field), {}};
  for (const Field& one : field["entries"].list()) {
    const int frames = one.has("frames") ? one["frames"].integer(1) : 0;
    component.entries.push_back({one["name"].text(), frames, read_tensors(one["inputs"]),
                                 read_tensors(one["outputs"])});
  }
  return component;
}

const TensorSpec* find(const std::vector<TensorSpec>& specs, const std::string& name) {
  for (const auto& spec : specs) {
    if (spec.name == name) return &spec;
  }
  return nullptr;
}

void expect_shape(const Field& where, const std::vector<TensorSpec>& specs,
                  const std::string& name, const std::vector<std::int32_t>& shape, Dtype dtype) {
  const TensorSpec* spec = find(specs, name);
  if (spec == nullptr || spec->shape != shape || spec->dtype != dtype) {
    where.fail("tensor " + name + " is missing or of another shape");
  }
}

// What the generation relies on: names and shapes that follow from the rest of the manifest.
void check_parts_agree(const Bundle& bundle, const Field& components) {
  const std::vector<std::int32_t> per_token{1, bundle.tokenizer.max_length};
  const Entry& text = bundle.conditioner.entries.front();
  const Field conditioner = components["conditioner"];
  expect_shape(conditioner, text.inputs, "input_ids", per_token, Dtype::int32);
  expect_shape(conditioner, text.inputs, "attention_mask", per_token, Dtype::float32);
  for (const auto& number : bundle.numbers) {
    expect_shape(conditioner, text.inputs, number.name, {1}, Dtype::float32);
  }
  if (text.inputs.size() != 2 + bundle.numbers.size()) conditioner.fail("takes other inputs");

  for (const int frames : bundle.frame_counts) bundle.dit.entry_for(frames);
  for (const Entry& entry : bundle.dit.entries) {
    const Field dit = components["dit"];
    const std::vector<std::int32_t> latent{1, bundle.latent_channels, entry.frames};
    expect_shape(dit, entry.inputs, "latent", latent, Dtype::float32);
    expect_shape(dit, entry.inputs, "timestep", {1}, Dtype::float32);
    expect_shape(dit, entry.outputs, "velocity", latent, Dtype::float32);
    for (const auto& output : text.outputs) {
      expect_shape(dit, entry.inputs, output.name, output.shape, output.dtype);
    }
    if (entry.inputs.size() != 2 + text.outputs.size()) dit.fail("takes other inputs");
  }
  for (const Entry& entry : bundle.decoder.entries) {
    const Field decoder = components["decoder"];
    expect_shape(decoder, entry.inputs, "latent", {1, bundle.latent_channels, entry.frames},
                 Dtype::float32);
    const TensorSpec* audio = find(entry.outputs, "audio");
    // Odd strides make the output a few samples shorter than its frames.
    if (audio == nullptr || audio->shape.size() != 3 || audio->shape[0] != 1 ||
        audio->shape[1] != bundle.channels ||
        std::int64_t{audio->shape[2]} > std::int64_t{entry.frames} * bundle.samples_per_frame) {
      decoder.fail("its audio has another shape");
    }
    if (entry.inputs.size() != 1) decoder.fail("takes other inputs");
  }
}

Tokenizer read_tokenizer(const std::string& folder, const Field& field) {
  field["kind"].expect("t5-unigram", "use a newer runner");
  Tokenizer tokenizer{"", "", field["max_length"].integer(1, 65536), field["pad_id"].integer(0),
                      field["eos_id"].integer(0)};
  for (const Field& file : field["files"].list()) {
    const std::string path = checked_file(folder, file);
    const std::string name = file["file"].text();
    if (name == "spiece.model") tokenizer.sentencepiece_path = path;
    if (name == "tokenizer.json") tokenizer.json_path = path;
  }
  if (tokenizer.sentencepiece_path.empty()) field.fail("has no spiece.model");
  if (tokenizer.json_path.empty()) field.fail("has no tokenizer.json");
  return tokenizer;
}

json read_json(const std::string& folder) {
  const std::string path = folder + "/" + kManifest;
  std::ifstream file(path, std::ios::binary);
  if (!file) throw Error(folder + ": no " + kManifest + " in it; give the folder of a bundle");
  json document = json::parse(file, nullptr, false);
  if (document.is_discarded()) throw Error(path + ": not JSON" + kAgain);
  return document;
}

}  // namespace

std::size_t TensorSpec::size() const {
  std::size_t elements = 1;
  for (const auto length : shape) elements *= static_cast<std::size_t>(length);
  return elements;
}

const Entry& Component::entry_for(int frames) const {
  for (const Entry& entry : entries) {
    if (entry.frames == frames) return entry;
  }
  throw Error(path + ": no entry for " + std::to_string(frames) + " frames" + kAgain);
}

Bundle open_bundle(const std::string& given) {
  std::string folder = given;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  const json document = read_json(folder);
  const Field root(document, folder + "/" + kManifest);
  if (root["schema_version"].integer(0) != 1) {
    root["schema_version"].fail("is unknown, this runner knows 1; use a newer runner");
  }
  Bundle bundle{};
  bundle.folder = folder;
  bundle.model_id = root["model_id"].text();
  bundle.recipe = root["recipe"].text();
  bundle.backend = root["backend"].text();
  if (bundle.backend != "executorch") {
    throw Error(folder + ": a bundle for " + bundle.backend +
                "; this runner takes executorch: export it again with --backend executorch");
  }
  root["noise"].expect(kNoiseId, "use a newer runner");
  const Field audio = root["audio"];
  bundle.sample_rate = audio["sample_rate"].integer(1, 1 << 24);
  bundle.channels = audio["channels"].integer(1, 64);
  bundle.samples_per_frame = audio["samples_per_frame"].integer(1, 1 << 20);
  bundle.latent_channels = audio["latent_channels"].integer(1, 1 << 16);
  for (const Field& count : root["frame_counts"].list()) {
    bundle.frame_counts.push_back(count.integer(1, 1 << 20));
  }
  std::sort(bundle.frame_counts.begin(), bundle.frame_counts.end());
  for (const Field& number : root["numbers"].list(true)) {
    bundle.numbers.push_back(
        {number["name"].text(), number["minimum"].number(), number["maximum"].number()});
  }
  bundle.tokenizer = read_tokenizer(folder, root["tokenizer"]);
  const Field schedule = root["schedule"];
  schedule["kind"].expect("logsnr-pingpong", "use a newer runner");
  bundle.logsnr_start = schedule["logsnr_start"].number();
  bundle.logsnr_end = schedule["logsnr_end"].number();
  bundle.default_steps = schedule["default_steps"].integer(1, kMaxSteps);
  bundle.context_frames = root["windowing"]["context_frames"].integer(0, 1 << 20);
  const Field components = root["components"];
  bundle.conditioner = read_component(folder, components, "conditioner");
  bundle.dit = read_component(folder, components, "dit");
  bundle.decoder = read_component(folder, components, "decoder");
  check_parts_agree(bundle, components);
  return bundle;
}

}  // namespace arcmobile
