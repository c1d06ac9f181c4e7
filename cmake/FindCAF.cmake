# Finds CAF, the C++ Actor Framework, wherever it comes from: a subproject, the
# CMake package of CAF 1.x, or the bare headers and libraries of 0.17.6 as Debian
# and Ubuntu ship them. Installed beside troupeConfig.cmake, which calls it.
#
# Components: core, io, openssl. Defines CAF::core and so on, CAF_VERSION and
# CAF_FOUND. Accepts 0.17.5 and later 0.17, and 1.x; refuses 0.18 and 0.19, whose
# API is a third dialect that troupe does not speak.

include(FindPackageHandleStandardArgs)

if(NOT CAF_FIND_COMPONENTS)
  set(CAF_FIND_COMPONENTS core)
endif()

set(CAF_LIBRARY "")

if(NOT TARGET CAF::core)
  # By a version of its own: the package file of 1.x is SameMajorVersion, and the
  # caller's minimum, such as 0.17.5, would be inherited here and refuse it.
  find_package(CAF 1.0 CONFIG QUIET)
endif()

if(TARGET CAF::core)
  set(CAF_LIBRARY CAF::core)
  if(NOT CAF_VERSION)
    # A subproject keeps its variables to itself, but the library knows its number,
    # in either property: CAF's own lists put the short one into VERSION.
    foreach(property VERSION SOVERSION)
      get_target_property(caf_number CAF::core ${property})
      if(caf_number MATCHES "^[0-9]+\\.[0-9]+")
        set(CAF_VERSION "${caf_number}")
      endif()
    endforeach()
  endif()
else()
  find_path(CAF_INCLUDE_DIR caf/all.hpp)
  mark_as_advanced(CAF_INCLUDE_DIR)
  if(CAF_INCLUDE_DIR)
    # One number, such as 1706 for 0.17.6. CAF 1.x defines it elsewhere, so a 1.x
    # whose package file is missing ends here as "not found".
    file(STRINGS "${CAF_INCLUDE_DIR}/caf/config.hpp" caf_version_line
         REGEX "^#define CAF_VERSION [0-9]+$")
    if(caf_version_line MATCHES "([0-9]+)$")
      set(caf_number "${CMAKE_MATCH_1}")
      math(EXPR caf_major "${caf_number} / 10000")
      math(EXPR caf_minor "(${caf_number} / 100) % 100")
      math(EXPR caf_patch "${caf_number} % 100")
      set(CAF_VERSION "${caf_major}.${caf_minor}.${caf_patch}")
    endif()
    get_filename_component(caf_prefix "${CAF_INCLUDE_DIR}" DIRECTORY)
    foreach(component IN LISTS CAF_FIND_COMPONENTS)
      string(TOUPPER "${component}" upper)
      find_library(CAF_${upper}_LIBRARY caf_${component}
                   HINTS "${caf_prefix}/lib" "${caf_prefix}/lib64")
      mark_as_advanced(CAF_${upper}_LIBRARY)
      if(CAF_VERSION AND CAF_${upper}_LIBRARY AND NOT TARGET CAF::${component})
        add_library(CAF::${component} UNKNOWN IMPORTED)
        set_target_properties(CAF::${component} PROPERTIES
          IMPORTED_LOCATION "${CAF_${upper}_LIBRARY}"
          INTERFACE_INCLUDE_DIRECTORIES "${CAF_INCLUDE_DIR}")
      endif()
    endforeach()
    if(TARGET CAF::core)
      find_package(Threads QUIET REQUIRED)
      set_property(TARGET CAF::core APPEND PROPERTY
                   INTERFACE_LINK_LIBRARIES Threads::Threads)
      set(CAF_LIBRARY "${CAF_CORE_LIBRARY}")
    endif()
    if(TARGET CAF::core AND TARGET CAF::io)
      set_property(TARGET CAF::io APPEND PROPERTY
                   INTERFACE_LINK_LIBRARIES CAF::core)
    endif()
    if(TARGET CAF::io AND TARGET CAF::openssl)
      set_property(TARGET CAF::openssl APPEND PROPERTY
                   INTERFACE_LINK_LIBRARIES CAF::io)
    endif()
  endif()
endif()

foreach(component IN LISTS CAF_FIND_COMPONENTS)
  if(TARGET CAF::${component})
    set(CAF_${component}_FOUND TRUE)
  else()
    set(CAF_${component}_FOUND FALSE)
  endif()
endforeach()

set(caf_refused "")
if(CAF_VERSION)
  if(CAF_VERSION VERSION_LESS 0.17.5)
    set(caf_refused "CAF ${CAF_VERSION} is too old: 0.17.5, or 1.x, is needed")
  elseif(CAF_VERSION VERSION_GREATER_EQUAL 0.18 AND CAF_VERSION VERSION_LESS 1.0)
    set(caf_refused "CAF ${CAF_VERSION} is not supported: use 0.17.5 to 0.17.x, or 1.x")
  endif()
endif()
if(caf_refused)
  set(CAF_LIBRARY CAF_LIBRARY-NOTFOUND)
else()
  set(caf_refused "install libcaf-dev, or name an installed CAF 1.x in CMAKE_PREFIX_PATH")
endif()

find_package_handle_standard_args(CAF
  REQUIRED_VARS CAF_LIBRARY
  VERSION_VAR CAF_VERSION
  HANDLE_COMPONENTS
  REASON_FAILURE_MESSAGE "${caf_refused}")
