// The noise generator of the contract, bit for bit as specified in docs/bundle.md.
// Compile with -ffp-contract=off: every product and sum is rounded by itself.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace arcmobile {

inline constexpr std::uint32_t kInitialNoise = 0;

// Philox4x32-10 of one counter under one key.
std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                        std::array<std::uint32_t, 2> key);

// Elements first .. first + count of the standard normal tensor (seed, stream, item).
std::vector<float> normal_noise(std::uint64_t seed, std::uint32_t stream, std::size_t count,
                                std::uint32_t item = 0, std::size_t first = 0);

}  // namespace arcmobile
