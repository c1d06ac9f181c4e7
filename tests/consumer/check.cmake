# Builds and runs the outside project in one of three ways:
#
#   static, shared   against troupe's package, installed into a fresh prefix
#   subproject       by add_subdirectory
#
# Takes VARIANT, SOURCE (troupe's folder), BUILD (troupe's build folder), SHARED
# (whether BUILD holds shared libraries), WORK (a folder of its own), COMPILER,
# CCACHE (the compiler cache, if any), PREFIX_PATH (where CAF may be found), and
# CLIENTS (those that BUILD has). A package of the kind that BUILD does not hold is
# built here.

function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status
                  OUTPUT_VARIABLE output ERROR_VARIABLE output)
  if(NOT status EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "${output}\nfailed (${status}): ${command}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

set(common -G Ninja -D CMAKE_BUILD_TYPE=Release
    -D "CMAKE_CXX_COMPILER=${COMPILER}")
if(CCACHE)
  list(APPEND common -D "CMAKE_CXX_COMPILER_LAUNCHER=${CCACHE}")
endif()
set(prefix "${WORK}/prefix")
file(REMOVE_RECURSE "${prefix}" "${WORK}/consumer")

if(VARIANT STREQUAL "subproject")
  # Compiles each file alone, which nothing else here does: one that forgot to
  # include something is found.
  run("${CMAKE_COMMAND}" -S "${SOURCE}/tests/consumer/subproject"
      -B "${WORK}/consumer" ${common} -D "TROUPE_SOURCE_DIR=${SOURCE}"
      -D "CMAKE_PREFIX_PATH=${PREFIX_PATH}")
else()
  if(VARIANT STREQUAL "shared")
    set(wanted ON)
  else()
    set(wanted OFF)
  endif()
  set(library "${BUILD}")
  if((wanted AND NOT SHARED) OR (SHARED AND NOT wanted))
    set(library "${WORK}/library")
    run("${CMAKE_COMMAND}" -S "${SOURCE}" -B "${library}" ${common}
        -D CMAKE_UNITY_BUILD=ON -D BUILD_SHARED_LIBS=${wanted} -D TROUPE_BUILD_TESTS=OFF
        -D TROUPE_BUILD_DEMOS=OFF -D TROUPE_BUILD_BENCH=OFF
        -D "CMAKE_PREFIX_PATH=${PREFIX_PATH}")
    run("${CMAKE_COMMAND}" --build "${library}")
  endif()
  run("${CMAKE_COMMAND}" --install "${library}" --prefix "${prefix}")
  run("${CMAKE_COMMAND}" -S "${SOURCE}/tests/consumer" -B "${WORK}/consumer"
      ${common} -D "CMAKE_PREFIX_PATH=${prefix};${PREFIX_PATH}")
endif()

run("${CMAKE_COMMAND}" --build "${WORK}/consumer" --target consumer)
run("${WORK}/consumer/consumer")
if(NOT output MATCHES "^troupe [0-9.]+ says 3 5 6 and 42, at attempt 2\n$")
  message(FATAL_ERROR "the outside program printed '${output}'")
endif()
message("${output}")

if(NOT VARIANT STREQUAL "subproject")
  run("${CMAKE_COMMAND}" --build "${WORK}/consumer" --target clients)
  run("${WORK}/consumer/clients")
  set(expected "")
  foreach(line IN ITEMS "sqlite 2" "postgres 1" "http 0")
    string(REGEX REPLACE " .*" "" client "${line}")
    if(";${CLIENTS};" MATCHES ";${client};")
      string(APPEND expected "${line}\n")
    endif()
  endforeach()
  if(NOT output STREQUAL expected)
    message(FATAL_ERROR "the clients printed '${output}', not '${expected}'")
  endif()
  message("${output}")
endif()
