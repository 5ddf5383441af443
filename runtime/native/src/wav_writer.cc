#include "wav_writer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "errors.h"

namespace arcmobile {
namespace {

constexpr const char* kOption = "--out";
constexpr std::uint64_t kHeaderBytes = 44;
constexpr std::uint64_t kMostBytes = std::numeric_limits<std::uint32_t>::max();  // after 8 of them

template <typename T>
void put(std::string& buffer, T value) {  // little-endian, as every target is
  buffer.append(reinterpret_cast<const char*>(&value), sizeof value);
}

std::uint64_t sample_bytes(SampleFormat format) { return format == SampleFormat::float32 ? 4 : 2; }

bool ends_in_wav(const std::string& path) {
  const std::string suffix = ".wav";
  if (path.size() <= suffix.size()) return false;
  const std::size_t at = path.size() - suffix.size();
  const auto lower = [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; };
  return path[at - 1] != '/' &&
         std::equal(suffix.begin(), suffix.end(), path.begin() + static_cast<std::ptrdiff_t>(at),
                    [&](char wanted, char found) { return lower(found) == wanted; });
}

// Before the file is made.
const std::string& checked(const std::string& path, int channels, SampleFormat format,
                           std::size_t samples) {
  if (!ends_in_wav(path)) {
    throw Error(std::string(kOption) + " " + path + ": the file name must end in .wav");
  }
  const std::uint64_t frame_bytes = static_cast<std::uint64_t>(channels) * sample_bytes(format);
  if (samples > (kMostBytes - kHeaderBytes) / frame_bytes) {
    throw Error(std::string(kOption) + " " + path +
                ": the sound is too long for a WAV file, 4 GB; give fewer --seconds");
  }
  return path;
}

}  // namespace

std::int16_t to_pcm16(float sample) {
  const long scaled = std::lrint(std::clamp(sample, -1.0f, 1.0f) * 32768.0f);
  return static_cast<std::int16_t>(std::min(scaled, 32767L));
}

WavWriter::WavWriter(const std::string& path, int sample_rate, int channels, SampleFormat format,
                     std::size_t samples, bool overwrite)
    : sample_rate_(sample_rate),
      channels_(channels),
      format_(format),
      file_(checked(path, channels, format, samples), overwrite, kOption) {
  file_.append(header());
}

void WavWriter::write(const float* audio, std::size_t stride, std::size_t samples) {
  buffer_.clear();
  for (std::size_t i = 0; i < samples; ++i) {
    for (int channel = 0; channel < channels_; ++channel) {
      const float sample = audio[static_cast<std::size_t>(channel) * stride + i];
      if (format_ == SampleFormat::float32) {
        put(buffer_, sample);
      } else {
        clipped_ += std::abs(sample) > 1.0f;
        put(buffer_, to_pcm16(sample));
      }
    }
  }
  file_.append(buffer_);
  frames_ += samples;
}

void WavWriter::finish() {
  file_.rewrite_beginning(header());
  file_.finish();
}

std::string WavWriter::header() const {
  const auto bytes = static_cast<std::uint32_t>(sample_bytes(format_));
  const auto frame_bytes = static_cast<std::uint32_t>(channels_) * bytes;
  const auto data = static_cast<std::uint32_t>(frames_ * frame_bytes);
  const std::uint64_t rate_bytes = static_cast<std::uint64_t>(sample_rate_) * frame_bytes;
  std::string text = "RIFF";
  put(text, static_cast<std::uint32_t>(kHeaderBytes - 8 + data));
  text += "WAVEfmt ";
  put(text, std::uint32_t{16});
  put(text, static_cast<std::uint16_t>(format_ == SampleFormat::float32 ? 3 : 1));
  put(text, static_cast<std::uint16_t>(channels_));
  put(text, static_cast<std::uint32_t>(sample_rate_));
  put(text, static_cast<std::uint32_t>(std::min(rate_bytes, kMostBytes)));
  put(text, static_cast<std::uint16_t>(frame_bytes));
  put(text, static_cast<std::uint16_t>(8 * bytes));
  text += "data";
  put(text, data);
  return text;
}

}  // namespace arcmobile
