#pragma once

#include <string>

namespace arcmobile {

// Loads the programs of a list of calls, with XNNPACK's weight cache on or off, runs every call and
// writes what it gives. All programs stay loaded: the cache is one for the whole process.
//
// `list` names a JSON file: [{"program": path, "method": name, "inputs": [path...],
// "outputs": [path...]}, ...]. Tensors are files of their elements, in the machine's byte order.
void run_program_calls(const std::string& list, bool weight_cache);

}  // namespace arcmobile
