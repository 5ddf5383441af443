#include "manifest.h"

#include <algorithm>
#include <limits>
#include <stdexcept>

#include "bounds.h"
#include "errors.h"
#include "json_document.h"
#include "json_field.h"
#include "names.h"

namespace arcmobile {
namespace {

using Shape = std::vector<std::int32_t>;

constexpr const char* kNewerRunner = "use a newer runner";
constexpr int kSchemaVersion = 2;

int read_int(const JsonField& field, std::int64_t least, std::int64_t most) {
  return static_cast<int>(field.integer(least, std::min<std::int64_t>(
                                                   most, std::numeric_limits<int>::max())));
}

// --- fields -------------------------------------------------------------------------------------

bool is_digest(const std::string& text) {
  return text.size() == 64 && text.find_first_not_of("0123456789abcdef") == std::string::npos;
}

void expect_digest(const JsonField& field) {
  if (!is_digest(field.text())) field.fail("must be 64 hexadecimal digits");
}

void expect_count(const JsonField& field) {
  field.integer(0, std::numeric_limits<std::int64_t>::max());
}

void expect_strings(const JsonField& object) {
  for (const auto& [name, value] : object.members()) value.text();
}

// Digits, a point and digits, once or twice: 1.3 or 1.3.0.
bool is_version(const std::string& text) {
  int parts = 0;
  for (std::size_t at = 0; at <= text.size(); ++parts) {
    const std::size_t end = std::min(text.find('.', at), text.size());
    const std::string part = text.substr(at, end - at);
    if (part.empty() || part.size() > 4) return false;
    if (part.find_first_not_of("0123456789") != std::string::npos) return false;
    at = end + 1;
  }
  return parts == 2 || parts == 3;
}

bool is_plain_name(const std::string& name) {
  constexpr const char* kLetters =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
  return !name.empty() && name.find_first_not_of(kLetters) == std::string::npos &&
         std::string("._-").find(name[0]) == std::string::npos && name != names::manifest_file;
}

FileRecord read_record(const JsonField& record) {
  const std::string name = record["file"].text();
  if (!is_plain_name(name)) record["file"].fail("'" + name + "' is not a plain file name");
  expect_digest(record["sha256"]);
  return {name, record["sha256"].text(),
          record["bytes"].integer(0, std::numeric_limits<std::int64_t>::max())};
}

void check_work(const JsonField& work) {
  work.expect_members({"linear_macs", "convolution_macs", "product_bytes", "elementwise_bytes",
                       "largest_bytes"});
  for (const char* name : {"linear_macs", "convolution_macs"}) {
    work[name].expect_members({}, {"int8", "fp16", "fp32"});
    for (const auto& [arithmetic, count] : work[name].members()) expect_count(count);
  }
  for (const char* name : {"product_bytes", "elementwise_bytes", "largest_bytes"}) {
    expect_count(work[name]);
  }
}

void check_fidelity(const JsonField& fidelity) {
  fidelity.expect_members({"max_abs_error", "snr_db", "cosine"});
  fidelity["max_abs_error"].number();
  if (fidelity.has("snr_db")) fidelity["snr_db"].number();
  fidelity["cosine"].number();
}

std::vector<TensorSpec> read_tensors(const JsonField& list) {
  std::vector<TensorSpec> specs;
  for (const JsonField& one : list.list(true)) {
    one.expect_members({"name", "shape", "dtype"});
    TensorSpec spec{one["name"].text(), {}, Dtype::float32};
    std::int64_t elements = 1;
    for (const JsonField& size : one["shape"].list(true)) {
      spec.shape.push_back(read_int(size, 1, bounds::tensor_elements));
      elements *= spec.shape.back();
      if (elements > bounds::tensor_elements) {
        one["shape"].fail("has more than " + std::to_string(bounds::tensor_elements) + " values");
      }
    }
    const std::string dtype = one["dtype"].one_of({names::float32, names::int32});
    spec.dtype = dtype == names::int32 ? Dtype::int32 : Dtype::float32;
    specs.push_back(std::move(spec));
  }
  return specs;
}

Entry read_entry(const JsonField& field) {
  field.expect_members({"name", "inputs", "outputs"}, {"frames", "work"});
  if (field.has("work")) check_work(field["work"]);
  const int frames = field.has("frames") ? read_int(field["frames"], 1, bounds::frames) : 0;
  return {field["name"].text(), frames, read_tensors(field["inputs"]),
          read_tensors(field["outputs"])};
}

Component read_component(const JsonField& field, const std::string& name, Bundle& bundle) {
  field.expect_members({"file", "sha256", "bytes", "precision", "entries", "fidelity"},
                       {"delegation"});
  bundle.files.push_back(read_record(field));
  Component component{name, bundle.files.back().name, {}};
  expect_strings(field["precision"]);
  for (const JsonField& one : field["entries"].list()) {
    component.entries.push_back(read_entry(one));
  }
  check_fidelity(field["fidelity"]);
  if (field.has("delegation")) {
    for (const auto& [what, count] : field["delegation"].members()) {
      count.integer(std::numeric_limits<std::int64_t>::min(),
                    std::numeric_limits<std::int64_t>::max());
    }
  }
  return component;
}

Tokenizer read_tokenizer(const JsonField& field, Bundle& bundle) {
  field["kind"].one_of({names::tokenizer_kind}, kNewerRunner);
  field.expect_members({"kind", "files", "max_length", "pad_id", "eos_id"});
  Tokenizer tokenizer{"", 0, 0, 0};
  for (const JsonField& file : field["files"].list()) {
    file.expect_members({"file", "sha256", "bytes"});
    const FileRecord record = read_record(file);
    if (record.bytes > bounds::tokenizer_bytes) {
      file["bytes"].fail("is more than the " + std::to_string(bounds::tokenizer_bytes) +
                         " that a tokenizer file may have");
    }
    if (record.name == names::tokenizer_file) tokenizer.json_path = record.name;
    bundle.files.push_back(record);
  }
  tokenizer.max_length = read_int(field["max_length"], 1, bounds::tokens);
  tokenizer.pad_id = read_int(field["pad_id"], 0, bounds::token_id);
  tokenizer.eos_id = read_int(field["eos_id"], 0, bounds::token_id);
  if (tokenizer.json_path.empty()) {
    field["files"].fail(std::string("no ") + names::tokenizer_file + " among them");
  }
  return tokenizer;
}

void read_audio(const JsonField& audio, Bundle& bundle) {
  audio.expect_members({"sample_rate", "channels", "samples_per_frame", "latent_channels"});
  bundle.sample_rate = read_int(audio["sample_rate"], 1, bounds::sample_rate);
  bundle.channels = read_int(audio["channels"], 1, bounds::channels);
  bundle.samples_per_frame = read_int(audio["samples_per_frame"], 1, bounds::samples_per_frame);
  bundle.latent_channels = read_int(audio["latent_channels"], 1, bounds::latent_channels);
}

void read_frame_counts(const JsonField& list, Bundle& bundle) {
  for (const JsonField& count : list.list()) {
    bundle.frame_counts.push_back(read_int(count, 1, bounds::frames));
  }
  std::sort(bundle.frame_counts.begin(), bundle.frame_counts.end());
  // Frames of every part, up to the samples, are counted in int.
  const std::int64_t longest = bundle.longest_frames();
  if (longest * bundle.samples_per_frame > bounds::samples) {
    list.fail("are too long: more than " + std::to_string(bounds::samples) + " samples");
  }
}

void read_numbers(const JsonField& list, Bundle& bundle) {
  for (const JsonField& number : list.list(true)) {
    number.expect_members({"name", "minimum", "maximum"});
    bundle.numbers.push_back(
        {number["name"].text(), number["minimum"].number(), number["maximum"].number()});
  }
}

void read_schedule(const JsonField& schedule, Bundle& bundle) {
  schedule["kind"].one_of({names::schedule_kind}, kNewerRunner);
  schedule.expect_members({"kind", "logsnr_start", "logsnr_end", "default_steps"});
  bundle.logsnr_start = schedule["logsnr_start"].number();
  bundle.logsnr_end = schedule["logsnr_end"].number();
  bundle.default_steps = read_int(schedule["default_steps"], 1, bounds::steps);
}

// The decoder's parts as `windowing` lists them: decoder_1, decoder_2 and on.
void read_windowing(const JsonField& windowing, Bundle& bundle) {
  windowing.expect_members({"decoder", "encoder_context_frames"});
  for (const JsonField& one : windowing["decoder"].list()) {
    one.expect_members({"component", "frames_per_latent", "context_frames"});
    DecoderPart part{};
    part.component.name = decoder_part(bundle.decoder.size());
    const JsonField component = one["component"];
    if (component.text() != part.component.name) {
      component.fail("is '" + component.text() + "', not " + part.component.name);
    }
    part.frames_per_latent = read_int(one["frames_per_latent"], 1, bounds::frames);
    part.context_frames = read_int(one["context_frames"], 0, bounds::frames);
    bundle.decoder.push_back(std::move(part));
  }
  windowing["encoder_context_frames"].integer(0, bounds::frames);
}

void check_provenance(const JsonField& provenance) {
  provenance.expect_members({"created", "checkpoint_sha256", "tools"});
  provenance["created"].text();
  expect_digest(provenance["checkpoint_sha256"]);
  expect_strings(provenance["tools"]);
}

// --- how the parts agree ------------------------------------------------------------------------

std::string say(const Shape& shape) {
  std::string text;
  for (const auto length : shape) text += (text.empty() ? "" : ", ") + std::to_string(length);
  return "(" + text + ")";
}

std::ptrdiff_t count_named(const std::vector<TensorSpec>& specs, const std::string& name) {
  return std::count_if(specs.begin(), specs.end(),
                       [&name](const TensorSpec& spec) { return spec.name == name; });
}

// One component with its place in the manifest.
struct Checked {
  const Component& component;
  JsonField field;

  JsonField entry(const Entry& one) const {
    return field["entries"].list()[static_cast<std::size_t>(&one - component.entries.data())];
  }

  void tensor(const Entry& one, const std::string& name, const Shape& shape,
              Dtype dtype = Dtype::float32) const {
    const TensorSpec* spec = one.find(name);
    const char* kind = dtype == Dtype::int32 ? names::int32 : names::float32;
    if (spec == nullptr) entry(one).fail("tensor " + name + " is missing");
    if (spec->shape != shape || spec->dtype != dtype) {
      entry(one).fail("tensor " + name + " must be " + kind + " " + say(shape));
    }
  }

  void names(const Entry& one, const char* list, const std::vector<TensorSpec>& specs,
             std::vector<std::string> wanted) const {
    std::vector<std::string> found;
    for (const TensorSpec& spec : specs) found.push_back(spec.name);
    std::sort(found.begin(), found.end());
    std::sort(wanted.begin(), wanted.end());
    if (found == wanted) return;
    std::string text;
    for (const auto& name : wanted) text += (text.empty() ? "" : ", ") + name;
    entry(one)[list].fail("must be " + text);
  }

  int frames(const Entry& one) const {
    if (one.frames == 0) entry(one).fail("has no frames");
    return one.frames;
  }
};

std::vector<std::string> with_numbers(std::vector<std::string> names, const Bundle& bundle) {
  for (const NumberInput& number : bundle.numbers) names.push_back(number.name);
  return names;
}

// Conditioner: its inputs are ids, mask and numbers; its outputs are what the DiT takes.
void check_text_parts(const Bundle& bundle, const JsonField& components) {
  const Shape per_token{1, bundle.tokenizer.max_length};
  const Checked conditioner{bundle.conditioner, components[names::conditioner]};
  for (const Entry& entry : bundle.conditioner.entries) {
    conditioner.names(entry, "inputs", entry.inputs,
                      with_numbers({names::input_ids, names::attention_mask}, bundle));
    conditioner.tensor(entry, names::input_ids, per_token, Dtype::int32);
    conditioner.tensor(entry, names::attention_mask, per_token);
    for (const NumberInput& number : bundle.numbers) conditioner.tensor(entry, number.name, {1});
    for (const TensorSpec& spec : entry.outputs) {
      if (count_named(entry.outputs, spec.name) > 1) {
        conditioner.entry(entry)["outputs"].fail("gives " + spec.name + " twice");
      }
    }
  }
  const std::vector<TensorSpec>& produced = bundle.conditioner.entries.front().outputs;
  const Checked dit{bundle.dit, components[names::dit]};
  for (const Entry& entry : bundle.dit.entries) {
    const Shape latent{1, bundle.latent_channels, dit.frames(entry)};
    std::vector<std::string> taken{names::latent, names::timestep};
    for (const TensorSpec& spec : produced) taken.push_back(spec.name);
    dit.names(entry, "inputs", entry.inputs, taken);
    dit.names(entry, "outputs", entry.outputs, {names::velocity});
    dit.tensor(entry, names::latent, latent);
    dit.tensor(entry, names::timestep, {1});
    dit.tensor(entry, names::velocity, latent);
    for (const TensorSpec& spec : produced) dit.tensor(entry, spec.name, spec.shape, spec.dtype);
  }
  for (const int count : bundle.frame_counts) {
    const auto fits = [count](const Entry& entry) { return entry.frames == count; };
    if (std::none_of(bundle.dit.entries.begin(), bundle.dit.entries.end(), fits)) {
      components[names::dit]["entries"].fail("none for " + std::to_string(count) +
                                             " frames of frame_counts");
    }
  }
}

void check_encoder(const Bundle& bundle, const Component& component, const JsonField& field) {
  const Checked encoder{component, field};
  for (const Entry& entry : component.entries) {
    const std::int64_t samples =
        static_cast<std::int64_t>(encoder.frames(entry)) * bundle.samples_per_frame;
    if (samples > bounds::tensor_elements) encoder.entry(entry)["frames"].fail("is out of range");
    const Shape latent{1, bundle.latent_channels, entry.frames};
    encoder.names(entry, "inputs", entry.inputs, {names::audio});
    encoder.names(entry, "outputs", entry.outputs, {names::mean, names::stdev});
    encoder.tensor(entry, names::audio, {1, bundle.channels, static_cast<std::int32_t>(samples)});
    encoder.tensor(entry, names::mean, latent);
    encoder.tensor(entry, names::stdev, latent);
  }
}

// Every frame count can be decoded: in one window, or in several that keep something.
void check_windows(const Bundle& bundle, const DecoderPart& part, const JsonField& field) {
  for (const int count : bundle.frame_counts) {
    const std::int64_t frames = std::int64_t{count} * part.frames_per_latent;
    const auto fits = [&](const Entry& entry) {
      return entry.frames == frames ||
             (entry.frames < frames && entry.frames > std::int64_t{2} * part.context_frames);
    };
    const auto& entries = part.component.entries;
    if (std::none_of(entries.begin(), entries.end(), fits)) {
      field.fail("no window with " + std::to_string(part.context_frames) +
                 " frames of context decodes " + std::to_string(frames));
    }
  }
}

// Each part of the decoder takes what the one before gives, and gives whole frames of the next.
void check_decoder(const Bundle& bundle, const JsonField& root) {
  int channels = bundle.latent_channels;
  for (std::size_t i = 0; i < bundle.decoder.size(); ++i) {
    const DecoderPart& part = bundle.decoder[i];
    const bool first = i == 0, last = i + 1 == bundle.decoder.size();
    const int per_latent =
        last ? bundle.samples_per_frame : bundle.decoder[i + 1].frames_per_latent;
    if ((first && part.frames_per_latent != 1) || per_latent % part.frames_per_latent != 0) {
      root["windowing"]["decoder"].list()[i]["frames_per_latent"].fail(
          "does not fit, the part gives " + std::to_string(per_latent) + " per latent frame");
    }
    const std::string taken = first ? names::latent : names::features;
    const std::string given = last ? names::audio : names::next_features;
    const std::int64_t ratio = per_latent / part.frames_per_latent;
    const Checked checked{part.component, root["components"][part.component.name]};
    int given_channels = last ? bundle.channels : 0;  // 0: as the part's first entry has it
    for (const Entry& entry : part.component.entries) {
      const std::int64_t most = checked.frames(entry) * ratio;
      checked.names(entry, "inputs", entry.inputs, {taken});
      checked.names(entry, "outputs", entry.outputs, {given});
      checked.tensor(entry, taken, {1, channels, entry.frames});
      const TensorSpec& output = entry.outputs.front();
      const bool is_sound =
          output.dtype == Dtype::float32 && output.shape.size() == 3 && output.shape[0] == 1;
      if (given_channels == 0 && is_sound) given_channels = output.shape[1];
      // Odd strides make the sound a few samples shorter than its frames.
      const std::int64_t length = is_sound ? output.shape[2] : 0;
      if (!is_sound || output.shape[1] != given_channels ||
          (last ? length > most : length != most)) {
        checked.entry(entry).fail("tensor " + given + " is " + say(output.shape) + ", for " +
                                  std::to_string(most) + " frames or samples");
      }
    }
    channels = given_channels;
    check_windows(bundle, part, root["windowing"]["decoder"].list()[i]);
  }
}

// Returns the encoder, without entries where there is none.
Component read_components(const JsonField& root, Bundle& bundle) {
  Component encoder;
  const JsonField components = root["components"];
  for (const auto& [name, field] : components.members()) {
    const auto part = std::find_if(
        bundle.decoder.begin(), bundle.decoder.end(),
        [&wanted = name](const DecoderPart& one) { return one.component.name == wanted; });
    Component component = read_component(field, name, bundle);
    if (name == names::encoder) {
      encoder = std::move(component);
    } else if (name == names::conditioner) {
      bundle.conditioner = std::move(component);
    } else if (name == names::dit) {
      bundle.dit = std::move(component);
    } else if (part != bundle.decoder.end()) {
      part->component = std::move(component);
    } else {
      field.fail("unknown component");
    }
  }
  components[names::conditioner];
  components[names::dit];
  for (const DecoderPart& part : bundle.decoder) components[part.component.name];
  return encoder;
}

}  // namespace

Bundle read_manifest(std::string_view text, const std::string& file) {
  JsonBuilder builder(bounds::manifest_depth, static_cast<std::size_t>(bounds::manifest_bytes));
  nlohmann::json document;
  try {
    document = builder.parse(text);
  } catch (const std::invalid_argument& error) {
    throw Error(file + ": not JSON (" + error.what() + "); export the bundle again");
  }
  const JsonField root(document, file);
  const std::int64_t version = root["schema_version"].integer(
      std::numeric_limits<std::int64_t>::min(), std::numeric_limits<std::int64_t>::max());
  if (version != kSchemaVersion) {
    throw Error(file + ": schema_version " + std::to_string(version) +
                " is unknown, this runner knows " + std::to_string(kSchemaVersion) +
                "; export the bundle again, or use a newer runner");
  }
  root.expect_members({"schema_version", "model_id", "license_notice", "recipe", "backend", "audio",
                       "frame_counts", "numbers", "tokenizer", "schedule", "noise", "windowing",
                       "components", "provenance"},
                      {"minimum_runtime", "objective"});
  Bundle bundle{};
  bundle.model_id = root["model_id"].text();
  root["license_notice"].text();
  bundle.recipe = root["recipe"].text();
  bundle.backend = root["backend"].text();
  if (root.has("minimum_runtime")) {
    bundle.minimum_runtime = root["minimum_runtime"].text();
    if (!is_version(bundle.minimum_runtime)) {
      root["minimum_runtime"].fail("must be a version such as 1.3.0");
    }
  }
  if (root.has("objective")) {
    bundle.objective = root["objective"].one_of({names::few_step_objective, names::flow_objective});
  }
  read_audio(root["audio"], bundle);
  read_frame_counts(root["frame_counts"], bundle);
  read_numbers(root["numbers"], bundle);
  bundle.tokenizer = read_tokenizer(root["tokenizer"], bundle);
  read_schedule(root["schedule"], bundle);
  root["noise"].one_of({names::noise_id}, kNewerRunner);
  read_windowing(root["windowing"], bundle);
  const Component encoder = read_components(root, bundle);
  check_provenance(root["provenance"]);
  check_text_parts(bundle, root["components"]);
  if (!encoder.entries.empty()) check_encoder(bundle, encoder, root["components"][names::encoder]);
  check_decoder(bundle, root);
  return bundle;
}

}  // namespace arcmobile
