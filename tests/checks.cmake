# Checks around the code, each of them a CTest test: what core can reach, what the
# installed package does for an outside project, format and style. Those that
# compile have a COST, which lets them start first: what is short fills the gaps
# at the end.

# -- rooms ---------------------------------------------------------------------

file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/wrong_way.cpp"
     CONTENT "#include \"troupe/pool.hpp\"\n")
add_test(NAME "rooms/core cannot include a header of actors"
  COMMAND "${CMAKE_CXX_COMPILER}" -std=c++20 -fsyntax-only
          "-I$<JOIN:$<TARGET_PROPERTY:troupe_core,INCLUDE_DIRECTORIES>,;-I>"
          "${CMAKE_CURRENT_BINARY_DIR}/wrong_way.cpp"
  COMMAND_EXPAND_LISTS)
set_tests_properties("rooms/core cannot include a header of actors" PROPERTIES
  PASS_REGULAR_EXPRESSION "troupe/pool.hpp.*(No such file|file not found)")

# -- package -------------------------------------------------------------------

set(clients "")
foreach(client IN ITEMS sqlite postgres http)
  if(TARGET troupe_${client})
    list(APPEND clients ${client})
  endif()
endforeach()

function(troupe_add_consumer_test variant promise)
  set(name "package/${promise}")
  add_test(NAME "${name}"
    COMMAND "${CMAKE_COMMAND}"
            -D VARIANT=${variant}
            -D "SOURCE=${PROJECT_SOURCE_DIR}"
            -D "BUILD=${PROJECT_BINARY_DIR}"
            -D SHARED=${BUILD_SHARED_LIBS}
            -D "WORK=${CMAKE_CURRENT_BINARY_DIR}/consumer/${variant}"
            -D "COMPILER=${CMAKE_CXX_COMPILER}"
            -D "CCACHE=${TROUPE_CCACHE}"
            -D "PREFIX_PATH=${CMAKE_PREFIX_PATH}"
            -D "CLIENTS=${clients}"
            -P "${CMAKE_CURRENT_SOURCE_DIR}/consumer/check.cmake")
  set_tests_properties("${name}" PROPERTIES TIMEOUT 1800 COST 100 LABELS package)
endfunction()

troupe_add_consumer_test(static
  "an outside project builds with the static libraries and runs")
troupe_add_consumer_test(shared
  "an outside project builds with the shared libraries and runs")
troupe_add_consumer_test(subproject
  "a subproject builds the libraries and neither tests nor demos")

file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/other_caf/caf/config.hpp"
     CONTENT "#define CAF_MAJOR_VERSION 9\n#define CAF_MINOR_VERSION 9\n")
file(CONFIGURE OUTPUT "${CMAKE_CURRENT_BINARY_DIR}/other_caf.cpp"
     CONTENT "#include \"troupe/build_info.hpp\"\n")
add_test(NAME "package/another CAF than the one it was built with is refused"
  COMMAND "${CMAKE_CXX_COMPILER}" -std=c++20 -fsyntax-only
          "-I${CMAKE_CURRENT_BINARY_DIR}/other_caf"
          "-I$<JOIN:$<TARGET_PROPERTY:troupe_core,INCLUDE_DIRECTORIES>,;-I>"
          "${CMAKE_CURRENT_BINARY_DIR}/other_caf.cpp"
  COMMAND_EXPAND_LISTS)
set_tests_properties(
  "package/another CAF than the one it was built with is refused" PROPERTIES
  PASS_REGULAR_EXPRESSION "troupe was built with CAF")

# -- style ---------------------------------------------------------------------

# By version: another one formats and warns differently.
find_program(TROUPE_CLANG_FORMAT clang-format-14)
find_program(TROUPE_CLANG_TIDY clang-tidy-16)
mark_as_advanced(TROUPE_CLANG_FORMAT TROUPE_CLANG_TIDY)

if(TROUPE_CLANG_FORMAT)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS
       "${PROJECT_SOURCE_DIR}/core/*.?pp" "${PROJECT_SOURCE_DIR}/actors/*.?pp"
       "${PROJECT_SOURCE_DIR}/demos/*.?pp" "${PROJECT_SOURCE_DIR}/tests/*.?pp")
  add_test(NAME "style/every source is as clang-format writes it"
           COMMAND "${TROUPE_CLANG_FORMAT}" --dry-run -Werror ${sources})
  set_tests_properties("style/every source is as clang-format writes it"
                       PROPERTIES LABELS style)
else()
  message(STATUS "Format is not tested: clang-format-14 was not found")
endif()

if(TROUPE_CLANG_TIDY)
  # A build folder of its own, where clang-tidy looks at the files as they are
  # compiled: so only what changed is looked at again, and no precompiled header
  # of another compiler is in the way.
  set(tidy "${PROJECT_BINARY_DIR}/tidy")
  add_test(NAME "style/configure clang-tidy"
    COMMAND "${CMAKE_COMMAND}" -S "${PROJECT_SOURCE_DIR}" -B "${tidy}"
            -G Ninja -D CMAKE_BUILD_TYPE=Debug
            -D "CMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}"
            -D "CMAKE_PREFIX_PATH=${CMAKE_PREFIX_PATH}"
            -D CMAKE_DISABLE_PRECOMPILE_HEADERS=ON
            -D "CMAKE_CXX_CLANG_TIDY=${TROUPE_CLANG_TIDY}$<SEMICOLON>--quiet$<SEMICOLON>--config-file=${PROJECT_SOURCE_DIR}/.clang-tidy"
            -D "CMAKE_PROJECT_troupe_INCLUDE=${CMAKE_CURRENT_SOURCE_DIR}/tidy.cmake"
            -D TROUPE_BUILD_TESTS=OFF -D TROUPE_BUILD_DEMOS=OFF
            -D TROUPE_BUILD_BENCH=OFF)
  add_test(NAME "style/clang-tidy finds nothing in core and actors"
           COMMAND "${CMAKE_COMMAND}" --build "${tidy}")
  set_tests_properties("style/configure clang-tidy" PROPERTIES
    FIXTURES_SETUP tidy LABELS style)
  set_tests_properties("style/clang-tidy finds nothing in core and actors"
    PROPERTIES FIXTURES_REQUIRED tidy PROCESSORS 2 TIMEOUT 3600
               COST 100 LABELS style)
else()
  message(STATUS "Style is not tested: clang-tidy-16 was not found")
endif()
