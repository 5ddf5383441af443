// A bundle: its manifest, which runtime/bundle_schema.py defines, and files that are there.
#pragma once

#include <cstddef>
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
  int frames;  // of its input, the latent or a decoder part's features; 0: the manifest has none
  std::vector<TensorSpec> inputs;
  std::vector<TensorSpec> outputs;

  // The input or output of that name, or nullptr.
  const TensorSpec* find(const std::string& tensor) const;
};

// A file as the manifest records it.
struct FileRecord {
  std::string name;
  std::string sha256;  // 64 hexadecimal digits
  std::int64_t bytes;
};

struct Component {
  std::string name;
  std::string path;
  std::vector<Entry> entries;

  // The entry that works on `frames` frames. Throws Error where there is none.
  const Entry& entry_for(int frames) const;
};

// One part of the decoder: its input has `frames_per_latent` frames for each latent frame, and what
// comes out closer than `context_frames` of its input to a window's inner edge is dropped.
struct DecoderPart {
  Component component;
  int frames_per_latent;
  int context_frames;
};

// Name of the component that holds the decoder's part `index`, counted from 0.
std::string decoder_part(std::size_t index);

struct NumberInput {
  std::string name;
  double minimum;
  double maximum;
};

struct Tokenizer {
  std::string json_path;
  int max_length;
  std::int32_t pad_id;
  std::int32_t eos_id;
};

struct Bundle {
  std::string folder;
  std::string model_id;
  std::string recipe;
  std::string backend;
  std::string minimum_runtime;  // 1.3.0; empty: the manifest does not say
  std::string objective;        // rf_denoiser or rectified_flow; empty: the manifest does not say
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
  std::vector<FileRecord> files;     // all of them, the tokenizer's first

  int longest_frames() const { return frame_counts.back(); }
};

// Opens the bundle in a folder, which may also be given as the path of its manifest. Checks the
// manifest, and that every file is there, at its size and with its digest (see verified_files.h).
// Throws Error naming the file, the field and the way out.
Bundle open_bundle(const std::string& folder);

}  // namespace arcmobile
