#include "cpu_description.h"

#include <sched.h>
#include <sys/auxv.h>

#include <algorithm>
#include <fstream>
#include <set>
#include <sstream>
#include <thread>

namespace arcmobile {
namespace {

std::string value_of(const std::string& line) {
  const auto colon = line.find(':');
  const auto start = colon == std::string::npos ? colon : line.find_first_not_of(" \t", colon + 1);
  return start == std::string::npos ? "" : line.substr(start);
}

#if defined(__aarch64__)
struct Bit {
  unsigned long mask;
  const char* name;
};

// From asm/hwcap.h. Asked of the kernel by getauxval, because /proc/cpuinfo under an emulator
// shows the CPU of the machine around it.
constexpr Bit kFirst[] = {{1ul << 1, "asimd"},    {1ul << 9, "fphp"},     {1ul << 10, "asimdhp"},
                          {1ul << 20, "asimddp"}, {1ul << 22, "sve"},     {1ul << 23, "asimdfhm"}};
constexpr Bit kSecond[] = {{1ul << 1, "sve2"},  {1ul << 9, "svei8mm"},    {1ul << 13, "i8mm"},
                           {1ul << 14, "bf16"}, {1ul << 23, "sme"},       {1ul << 26, "smei8i32"},
                           {1ul << 29, "smef32f32"}, {1ul << 37, "sme2"}};

std::vector<std::string> features_of_kernel() {
  std::vector<std::string> names;
  const unsigned long first = getauxval(AT_HWCAP), second = getauxval(AT_HWCAP2);
  for (const auto& bit : kFirst) {
    if (first & bit.mask) names.emplace_back(bit.name);
  }
  for (const auto& bit : kSecond) {
    if (second & bit.mask) names.emplace_back(bit.name);
  }
  return names;
}
#endif

// Of the many x86 flags, those that matrix kernels look for.
const std::set<std::string> kKnownFlags = {"avx2",       "fma",         "f16c",     "avx512f",
                                           "avx512vnni", "avx512_vnni", "avx_vnni", "amx_int8"};

}  // namespace

CpuDescription describe_cpu() {
  CpuDescription cpu{"unknown", {}, static_cast<int>(std::thread::hardware_concurrency())};
  cpu_set_t allowed;
  if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) cpu.cores = CPU_COUNT(&allowed);
  cpu.cores = std::max(cpu.cores, 1);
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.rfind("model name", 0) == 0 || line.rfind("Hardware", 0) == 0) {
      cpu.name = value_of(line);
    } else if (line.rfind("flags", 0) == 0 && cpu.features.empty()) {
      std::istringstream flags(value_of(line));
      for (std::string flag; flags >> flag;) {
        if (kKnownFlags.count(flag) != 0) cpu.features.push_back(flag);
      }
    }
  }
#if defined(__aarch64__)
  cpu.features = features_of_kernel();
#endif
  return cpu;
}

std::string abi_name() {
#if defined(__ANDROID__)
  const std::string system = "android";
#else
  const std::string system = "linux";
#endif
#if defined(__aarch64__)
  return system + "-arm64";
#else
  return system + "-x86_64";
#endif
}

}  // namespace arcmobile
