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
  int frames;  // latent frames it works on; 0 for the conditioner
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;
};

struct Component {
  std::string name;
  std::string path;
  std::vector<Entry> entries;

  // The entry that works on `frames` latent frames. Throws Error where there is none.
  const Entry& entry_for(int frames) const;
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
  int context_frames;
  Component conditioner;
  Component dit;
  Component decoder;

  int longest_frames() const { return frame_counts.back(); }
};

// Reads `folder`/manifest.json and checks it and the presence and size of every file.
// Throws Error naming the file, the field and the mend.
Bundle open_bundle(const std::string& folder);

}  // namespace arcmobile
