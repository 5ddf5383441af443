# Writes bounds.h into FOLDER: the constants of runtime/contract/bounds.json.
function(write_bounds_header table folder)
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${table})
  file(READ ${table} text)
  string(JSON count LENGTH ${text})
  math(EXPR last "${count} - 1")
  set(constants "")
  foreach(index RANGE ${last})
    string(JSON name MEMBER ${text} ${index})
    string(JSON value GET ${text} ${name})
    string(APPEND constants "inline constexpr std::int64_t ${name} = ${value};\n")
  endforeach()
  file(CONFIGURE OUTPUT ${folder}/bounds.h @ONLY CONTENT [[
// The largest values a manifest or a request may hold: generated from runtime/contract/bounds.json.
#pragma once

#include <cstdint>

namespace arcmobile::bounds {

@constants@
}  // namespace arcmobile::bounds
]])
endfunction()
