# What holds for every target when troupe is the top-level project: build type,
# compiler cache, warnings, sanitizers. Included by nobody's parent project, so a
# program that adds troupe as a subdirectory keeps its own flags.

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Type of build" FORCE)
endif()
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)

# Programs of the build tree and installed libraries find each other, and a CAF
# outside the system's own folders, without LD_LIBRARY_PATH.
set(CMAKE_INSTALL_RPATH "$ORIGIN")
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

find_program(TROUPE_CCACHE ccache)
mark_as_advanced(TROUPE_CCACHE)
if(TROUPE_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${TROUPE_CCACHE}")
endif()
if(CMAKE_CXX_COMPILER_LAUNCHER MATCHES "ccache")
  # What ccache's manual asks for before it caches files that use a precompiled
  # header.
  list(PREPEND CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
       CCACHE_SLOPPINESS=pch_defines,time_macros)
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    add_compile_options(-fpch-preprocess)
  endif()
endif()

add_compile_options(-Wall -Wextra -Wpedantic -Wshadow)
if(TROUPE_WERROR)
  add_compile_options(-Werror)
endif()

if(TROUPE_SANITIZE)
  add_compile_options(-fsanitize=${TROUPE_SANITIZE} -fno-omit-frame-pointer
                      -fno-sanitize-recover=all)
  if(TROUPE_SANITIZE MATCHES "undefined")
    # CAF 0.17's own header binds a null reference when it spawns a function
    # without arguments.
    add_compile_options(-fno-sanitize=null)
  endif()
  add_link_options(-fsanitize=${TROUPE_SANITIZE})
endif()
