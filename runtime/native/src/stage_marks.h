// Announces stages to an emulator's plugin: bench/tcg_plugin counts instructions by stage.
#pragma once

#include <string_view>

namespace arcmobile {

// Ends the stage before and begins `name` (at most 16 ASCII characters). The mark is a call of
// prctl with an option no kernel knows; the kernel refuses it and nothing else happens.
void mark_stage(std::string_view name);

}  // namespace arcmobile
