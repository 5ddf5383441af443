// Resident memory of this process, in bytes, from /proc.
#pragma once

#include <cstdint>

namespace arcmobile {

// Starts a new peak at the present size; false where the system cannot.
bool reset_peak();

// Largest resident set since reset_peak(), else since the start. Mapped program files count while
// they are resident.
std::uint64_t peak_bytes();

// Resident set now.
std::uint64_t resident_bytes();

// Returns memory that malloc keeps for later to the system.
void release_free_memory();

}  // namespace arcmobile
