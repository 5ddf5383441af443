#include "stage_marks.h"

#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>

namespace arcmobile {

void mark_stage(std::string_view name) {
  std::uint64_t words[2] = {0, 0};
  for (std::size_t i = 0; i < std::min<std::size_t>(name.size(), 16); ++i) {
    words[i / 8] |= std::uint64_t{static_cast<unsigned char>(name[i])} << (8 * (i % 8));
  }
  constexpr long kOption = 0x4152434d;  // "ARCM"
  const int before = errno;
  syscall(SYS_prctl, kOption, words[0], words[1], 0, 0);
  errno = before;
}

}  // namespace arcmobile
