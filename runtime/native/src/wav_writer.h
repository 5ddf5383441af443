// A WAV file that appears whole or not at all, written as samples come.
#pragma once

#include <cstdint>
#include <string>

#include "whole_file.h"

namespace arcmobile {

enum class SampleFormat { pcm16, float32 };

// The 16-bit sample of a float one; see docs/bundle.md.
std::int16_t to_pcm16(float sample);

class WavWriter {
 public:
  // `samples` per channel are at most to come. Throws Error where `path` does not end in .wav, is
  // taken (unless `overwrite`) or cannot be written, and where the sound does not fit into a WAV
  // file.
  WavWriter(const std::string& path, int sample_rate, int channels, SampleFormat format,
            std::size_t samples, bool overwrite);

  // `samples` of each channel; channel c begins at audio + c * stride. Throws Error (disk full) or
  // Stopped.
  void write(const float* audio, std::size_t stride, std::size_t samples);

  // Completes the header and moves the file to its name. Throws Error.
  void finish();

  std::uint64_t clipped() const { return clipped_; }

 private:
  std::string header() const;

  int sample_rate_;
  int channels_;
  SampleFormat format_;
  std::uint64_t frames_ = 0;
  std::uint64_t clipped_ = 0;
  std::string buffer_;
  WholeFile file_;
};

}  // namespace arcmobile
