// What CPU this is: its name and the extensions that the kernels look for.
#pragma once

#include <string>
#include <vector>

namespace arcmobile {

struct CpuDescription {
  std::string name;
  std::vector<std::string> features;  // as /proc/cpuinfo names them
  int cores;                          // that this process may use
};

CpuDescription describe_cpu();

// e.g. linux-arm64, the name of the CMake preset
std::string abi_name();

}  // namespace arcmobile
