# Included by troupe's own project() in the build that clang-tidy looks at. What takes
# it so long is not troupe but the headers of CAF and of the standard library, for each
# file again, so the files of a library are joined. A unity build would not do: what is
# included counts as a header, of which some checks know nothing. Here all is in the
# main file; the line before a file's first says which it is.

# As many as a unity build takes: so what clashes does so there, too.
set(troupe_joined_files 8)

function(troupe_join target)
  get_target_property(sources ${target} SOURCES)
  list(FILTER sources INCLUDE REGEX "\\.cpp$")
  set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${sources})
  set(joined "")
  list(LENGTH sources left)
  while(left GREATER 0)
    list(SUBLIST sources 0 ${troupe_joined_files} batch)
    list(REMOVE_ITEM sources ${batch})
    list(LENGTH sources left)
    set(text "")
    foreach(source IN LISTS batch)
      file(READ "${source}" content)
      string(APPEND text "#line 1 \"${source}\"\n${content}")
    endforeach()
    set(file "${PROJECT_BINARY_DIR}/joined/${target}_${left}.cpp")
    # Written only if it changed.
    file(CONFIGURE OUTPUT "${file}" CONTENT "${text}" @ONLY)
    list(APPEND joined "${file}")
  endwhile()
  set_property(TARGET ${target} PROPERTY SOURCES ${joined})
endfunction()

# When the libraries are known.
cmake_language(DEFER CALL troupe_join troupe_core)
cmake_language(DEFER CALL troupe_join troupe_actors)
