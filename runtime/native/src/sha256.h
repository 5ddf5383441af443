// SHA-256 (FIPS 180-4), with the instructions of the CPU where it has them.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace arcmobile {

class Sha256 {
 public:
  // `portable` leaves the CPU's instructions alone, for tests.
  explicit Sha256(bool portable = false);

  void add(std::string_view bytes);

  // 64 hexadecimal digits; nothing may be added after it.
  std::string finish();

 private:
  using Compress = void (*)(std::uint32_t* state, const unsigned char* blocks, std::size_t count);

  Compress compress_;
  std::array<std::uint32_t, 8> state_;
  std::array<unsigned char, 64> block_{};
  std::size_t filled_ = 0;    // bytes in block_
  std::uint64_t length_ = 0;  // bytes in all
};

std::string sha256_of(std::string_view bytes);

}  // namespace arcmobile
