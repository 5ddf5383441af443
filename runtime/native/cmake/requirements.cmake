# Finds what the runner is built from, and says exactly what is missing and how to get it.
#
# Sets EXECUTORCH_TARGETS, EXECUTORCH_VERSION and EXECUTORCH_SHARED_LIBRARIES.

foreach(header nlohmann/json.hpp CLI/CLI.hpp)
  if(NOT EXISTS ${HEADERS_ROOT}/${header})
    message(FATAL_ERROR "${header} is not in ${HEADERS_ROOT}: run `make apt-packages`, or give "
                        "-DHEADERS_ROOT=folder")
  endif()
endforeach()

if(ANDROID)
  if(NOT EXECUTORCH_ROOT)
    message(FATAL_ERROR "no ExecuTorch build for Android: build ExecuTorch with its preset "
                        "android-arm64-v8a, install it, and give -DEXECUTORCH_ROOT=its folder")
  endif()
  # An installed build from source: static libraries, other target names than the package's.
  find_package(executorch CONFIG REQUIRED PATHS ${EXECUTORCH_ROOT}/lib/cmake/ExecuTorch
               NO_DEFAULT_PATH NO_CMAKE_FIND_ROOT_PATH)
  set(EXECUTORCH_TARGETS)
  foreach(target executorch extension_module_static extension_tensor extension_data_loader
                 extension_threadpool etdump xnnpack_backend optimized_native_cpu_ops_lib)
    if(NOT TARGET ${target})
      message(FATAL_ERROR "the ExecuTorch build in ${EXECUTORCH_ROOT} has no ${target}: build it "
                          "with XNNPACK, the optimized kernels, the module and threadpool "
                          "extensions and the devtools")
    endif()
    list(APPEND EXECUTORCH_TARGETS ${target})
  endforeach()
  set(EXECUTORCH_VERSION "${executorch_VERSION}")
  set(EXECUTORCH_SHARED_LIBRARIES)
  return()
endif()

if(NOT EXISTS ${EXECUTORCH_ROOT}/share/cmake/executorch-config.cmake)
  message(FATAL_ERROR "EXECUTORCH_ROOT '${EXECUTORCH_ROOT}' is not an executorch package of 1.5 or "
                      "later for this target: run `make native` or `make native-arm64`")
endif()
find_package(executorch CONFIG REQUIRED PATHS ${EXECUTORCH_ROOT}/share/cmake NO_DEFAULT_PATH
             NO_CMAKE_FIND_ROOT_PATH)
set(EXECUTORCH_VERSION "${EXECUTORCH_BUILD_VERSION}")
set(EXECUTORCH_TARGETS)
set(EXECUTORCH_SHARED_LIBRARIES)
foreach(target runtime threadpool backend_xnnpack kernels_optimized etdump)
  if(NOT TARGET executorch::${target})
    message(FATAL_ERROR "the executorch package in ${EXECUTORCH_ROOT} has no ${target}")
  endif()
  # The package's own search paths name this machine's folders; the runner has its lib folder.
  get_target_property(options executorch::${target} INTERFACE_LINK_OPTIONS)
  if(options)
    list(FILTER options EXCLUDE REGEX "rpath")
    set_target_properties(executorch::${target} PROPERTIES INTERFACE_LINK_OPTIONS "${options}")
  endif()
  list(APPEND EXECUTORCH_TARGETS executorch::${target})
  list(APPEND EXECUTORCH_SHARED_LIBRARIES $<TARGET_FILE:executorch::${target}>)
endforeach()
