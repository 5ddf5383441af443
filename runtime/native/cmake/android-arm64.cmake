# The toolchain of an Android NDK, found by ANDROID_NDK_HOME (or ANDROID_NDK_ROOT, ANDROID_NDK).
foreach(name ANDROID_NDK_HOME ANDROID_NDK_ROOT ANDROID_NDK)
  if(NOT ARCMOBILE_NDK AND DEFINED ENV{${name}})
    set(ARCMOBILE_NDK $ENV{${name}} CACHE PATH "Android NDK")
  endif()
endforeach()
if(NOT ARCMOBILE_NDK)
  message(FATAL_ERROR "no Android NDK: install one (r26 or later) with Android Studio's SDK "
                      "manager and set ANDROID_NDK_HOME to its folder")
endif()
if(NOT EXISTS ${ARCMOBILE_NDK}/build/cmake/android.toolchain.cmake)
  message(FATAL_ERROR "ANDROID_NDK_HOME ${ARCMOBILE_NDK} has no "
                      "build/cmake/android.toolchain.cmake: it is not an Android NDK")
endif()
set(ANDROID_ABI arm64-v8a)
set(ANDROID_PLATFORM android-28)
set(ANDROID_STL c++_static)
include(${ARCMOBILE_NDK}/build/cmake/android.toolchain.cmake)
