// A WAV file that appears whole or not at all: written as samples come, renamed at the end.
#pragma once

#include <cstdint>
#include <cstdio>
#include <string>
#include <vector>

namespace arcmobile {

enum class SampleFormat { pcm16, float32 };

class WavWriter {
 public:
  // Throws Error where `path` is taken (unless `overwrite`) or cannot be written.
  WavWriter(std::string path, int sample_rate, int channels, SampleFormat format, bool overwrite);
  ~WavWriter();  // removes the unfinished file
  WavWriter(const WavWriter&) = delete;
  WavWriter& operator=(const WavWriter&) = delete;

  // `samples` of each channel; channel c begins at audio + c * stride. Throws Error: disk full.
  void write(const float* audio, std::size_t stride, std::size_t samples);

  // Completes the header and moves the file to its name. Throws Error.
  void finish();

  std::uint64_t clipped() const { return clipped_; }

 private:
  void write_header();
  [[noreturn]] void fail(const char* what) const;

  std::string path_;
  std::string partial_;
  std::FILE* file_ = nullptr;
  int sample_rate_;
  int channels_;
  SampleFormat format_;
  std::uint64_t frames_ = 0;
  std::uint64_t clipped_ = 0;
  std::vector<char> buffer_;
};

}  // namespace arcmobile
