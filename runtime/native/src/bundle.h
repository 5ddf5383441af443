// The bundle's manifest, checked: see runtime/bundle_schema.py, which defines it.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace arcmobile {

enum class Dtype { float32, int32 };

struct TensorSpec {
  std::string name;
  std::vector<std::int32_t> shape;
  Dtype dtype;

  std::size_t size() const;  // number of elements
};

struct Entry {
  std::string name;
  int frames;  // of its input, the latent or a decoder part's features; 0 for the conditioner
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

struct Component {
  std::string name;
  std::string path;
  std::vector<Entry> entries;

  // The entry that works on `frames` frames. Throws Error where there is none.
  const Entry& entry_for(int frames) const;
};

// One part of the decoder: its input has `frames_per_latent` frames for each latent frame, and what
// comes out closer than `context_frames` of its input to a window's inner edge is spoilt.
struct DecoderPart {
  Component component;
  int frames_per_latent;
  int context_frames;
};

struct NumberInput {
  std::string name;
  double minimum;
  double maximum;
};

struct Tokenizer {
  std::string sentencepiece_path;
  std::string json_path;  // names the special tokens
  int max_length;
  std::int32_t pad_id;
  std::int32_t eos_id;
};

struct Bundle {
  std::string folder;
  std::string model_id;
  std::string recipe;
  std::string backend;
  int sample_rate;
  int channels;
  int samples_per_frame;
  int latent_channels;
  std::vector<int> frame_counts;  // ascending
  std::vector<NumberInput> numbers;
  Tokenizer tokenizer;
  double logsnr_start;
  double logsnr_end;
  int default_steps;
  Component conditioner;
  Component dit;
  std::vector<DecoderPart> decoder;  // one or more, in order

  int longest_frames() const { return frame_counts.back(); }
};

// Reads `folder`/manifest.json and checks it and the presence and size of every file.
// Throws Error naming the file, the field and the mend.
Bundle open_bundle(const std::string& folder);

}  // namespace arcmobile
