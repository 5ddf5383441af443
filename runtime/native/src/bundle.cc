#include "bundle.h"

#include <sys/stat.h>

#include <algorithm>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>

#include "errors.h"
#include "manifest_field.h"
#include "noise.h"
#include "sampler.h"

namespace arcmobile {
namespace {

using nlohmann::json;
using Field = ManifestField;

constexpr const char* kManifest = "manifest.json";
constexpr const char* kAgain = "; export the bundle again";
constexpr int kSchemaVersion = 2;
constexpr std::int64_t kMostElements = std::int64_t{1} << 31;  // of one tensor

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

// Conditioner and DiT: names and shapes that follow from the rest of the manifest.
void check_text_parts(const Bundle& bundle, const Field& components) {
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
}

// The decoder's parts as `windowing` lists them: decoder_1, decoder_2 and on.
std::vector<DecoderPart> read_decoder(const std::string& folder, const Field& windowing,
                                      const Field& components) {
  std::vector<DecoderPart> parts;
  for (const Field& one : windowing["decoder"].list()) {
    const std::string name = "decoder_" + std::to_string(parts.size() + 1);
    const Field component = one["component"];
    if (component.text() != name) component.fail("is " + component.text() + ", not " + name);
    parts.push_back({read_component(folder, components, name),
                     one["frames_per_latent"].integer(1, 1 << 20),
                     one["context_frames"].integer(0, 1 << 20)});
  }
  return parts;
}

// Each part of the decoder takes what the one before gives, and gives whole frames of the next.
void check_decoder(const Bundle& bundle, const Field& windowing, const Field& components) {
  int channels = bundle.latent_channels;
  for (std::size_t i = 0; i < bundle.decoder.size(); ++i) {
    const DecoderPart& part = bundle.decoder[i];
    const bool first = i == 0, last = i + 1 == bundle.decoder.size();
    const int per_latent =
        last ? bundle.samples_per_frame : bundle.decoder[i + 1].frames_per_latent;
    if ((first && part.frames_per_latent != 1) || per_latent % part.frames_per_latent != 0) {
      windowing["decoder"].list()[i]["frames_per_latent"].fail(
          "is odd, the part gives " + std::to_string(per_latent) + " per latent frame");
    }
    const std::string given = last ? "audio" : "next_features";
    const std::int64_t ratio = per_latent / part.frames_per_latent;
    const Field field = components[part.component.name];
    int given_channels = last ? bundle.channels : 0;  // 0: as the part's first entry has it
    for (const Entry& entry : part.component.entries) {
      if (entry.frames == 0) field.fail("entry " + entry.name + " has no frames");
      if (entry.inputs.size() != 1) field.fail("takes other inputs");
      if (entry.outputs.size() != 1) field.fail("gives other outputs");
      expect_shape(field, entry.inputs, first ? "latent" : "features",
                   {1, channels, entry.frames}, Dtype::float32);
      const TensorSpec& output = entry.outputs.front();
      if (output.name != given || output.dtype != Dtype::float32 || output.shape.size() != 3 ||
          output.shape[0] != 1) {
        field.fail("tensor " + given + " is missing or of another shape");
      }
      if (given_channels == 0) given_channels = output.shape[1];
      const std::int64_t length = output.shape[2], most = entry.frames * ratio;
      // Odd strides make the sound a few samples shorter than its frames.
      const bool fits = last ? length <= most : length == most;
      if (output.shape[1] != given_channels || !fits) {
        field.fail("tensor " + given + " has another shape");
      }
    }
    channels = given_channels;
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
  if (root["schema_version"].integer(0) != kSchemaVersion) {
    root["schema_version"].fail("is unknown, this runner knows " + std::to_string(kSchemaVersion) +
                                "; use a newer runner");
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
  // Frames of every part, up to the samples, are counted in int.
  if (bundle.longest_frames() > std::numeric_limits<int>::max() / bundle.samples_per_frame) {
    root["frame_counts"].fail("is out of range");
  }
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
  const Field components = root["components"];
  bundle.conditioner = read_component(folder, components, "conditioner");
  bundle.dit = read_component(folder, components, "dit");
  bundle.decoder = read_decoder(folder, root["windowing"], components);
  check_text_parts(bundle, components);
  check_decoder(bundle, root["windowing"], components);
  return bundle;
}

}  // namespace arcmobile
