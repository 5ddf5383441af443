#include "wav_writer.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstring>

#include "errors.h"

namespace arcmobile {
namespace {

constexpr std::uint32_t kHeaderBytes = 44;

template <typename T>
void put(std::vector<char>& buffer, T value) {  // little-endian, as every target is
  const auto* bytes = reinterpret_cast<const char*>(&value);
  buffer.insert(buffer.end(), bytes, bytes + sizeof value);
}

void put(std::vector<char>& buffer, const char* tag) { buffer.insert(buffer.end(), tag, tag + 4); }

}  // namespace

WavWriter::WavWriter(std::string path, int sample_rate, int channels, SampleFormat format,
                     bool overwrite)
    : path_(std::move(path)), sample_rate_(sample_rate), channels_(channels), format_(format) {
  struct stat existing {};
  if (stat(path_.c_str(), &existing) == 0) {
    if (S_ISDIR(existing.st_mode)) throw Error(path_ + ": is a folder; name a file");
    if (!overwrite) {
      throw Error(path_ + ": exists already; choose another --out or add --overwrite");
    }
  }
  const auto slash = path_.rfind('/');
  const auto name = slash == std::string::npos ? 0 : slash + 1;
  partial_ = path_.substr(0, name) + "." + path_.substr(name) + ".partial-" +
             std::to_string(getpid());
  file_ = std::fopen(partial_.c_str(), "wb");
  if (file_ == nullptr) fail("cannot be written");
  write_header();
}

WavWriter::~WavWriter() {
  if (file_ != nullptr) std::fclose(file_);
  if (!partial_.empty()) std::remove(partial_.c_str());
}

void WavWriter::write(const float* audio, std::size_t stride, std::size_t samples) {
  buffer_.clear();
  for (std::size_t i = 0; i < samples; ++i) {
    for (int channel = 0; channel < channels_; ++channel) {
      float sample = audio[static_cast<std::size_t>(channel) * stride + i];
      if (format_ == SampleFormat::float32) {
        put(buffer_, sample);
        continue;
      }
      if (std::abs(sample) > 1.0f) {
        ++clipped_;
        sample = sample > 0.0f ? 1.0f : -1.0f;
      }
      put(buffer_, static_cast<std::int16_t>(std::lrint(sample * 32767.0f)));
    }
  }
  if (std::fwrite(buffer_.data(), 1, buffer_.size(), file_) != buffer_.size()) {
    fail("only a part could be written");
  }
  frames_ += samples;
}

void WavWriter::finish() {
  if (std::fseek(file_, 0, SEEK_SET) != 0) fail("cannot be completed");
  write_header();
  std::FILE* file = file_;
  file_ = nullptr;
  if (std::fclose(file) != 0) fail("only a part could be written");
  if (std::rename(partial_.c_str(), path_.c_str()) != 0) fail("cannot be written");
  partial_.clear();
}

void WavWriter::write_header() {
  const bool is_float = format_ == SampleFormat::float32;
  const std::uint16_t bytes = is_float ? 4 : 2;
  const auto channels = static_cast<std::uint16_t>(channels_);
  const auto rate = static_cast<std::uint32_t>(sample_rate_);
  const auto data = static_cast<std::uint32_t>(frames_ * channels * bytes);
  buffer_.clear();
  put(buffer_, "RIFF");
  put(buffer_, kHeaderBytes - 8 + data);
  put(buffer_, "WAVE");
  put(buffer_, "fmt ");
  put(buffer_, std::uint32_t{16});
  put(buffer_, static_cast<std::uint16_t>(is_float ? 3 : 1));
  put(buffer_, channels);
  put(buffer_, rate);
  put(buffer_, rate * channels * bytes);
  put(buffer_, static_cast<std::uint16_t>(channels * bytes));
  put(buffer_, static_cast<std::uint16_t>(8 * bytes));
  put(buffer_, "data");
  put(buffer_, data);
  if (std::fwrite(buffer_.data(), 1, buffer_.size(), file_) != buffer_.size()) {
    fail("only a part could be written");
  }
}

void WavWriter::fail(const char* what) const {
  throw Error(path_ + ": " + what + " (" + std::strerror(errno) +
              "); choose another --out or free some space");
}

}  // namespace arcmobile
