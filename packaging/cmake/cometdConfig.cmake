# find_package(cometd): cometd::cometd is the shared library, cometd::static the
# archive and what it needs. Nothing here says where it is installed: both are
# looked for from where this file lies.

# The folder of the headers, seen from here; make install writes it.
set(_cometd_includedir "")

get_filename_component(_cometd_here "${CMAKE_CURRENT_LIST_DIR}" REALPATH)
set(_cometd_include "")
if(_cometd_includedir)
  get_filename_component(_cometd_include "${_cometd_here}/${_cometd_includedir}" ABSOLUTE)
endif()
set(_cometd_prefix "${_cometd_here}")
while(NOT EXISTS "${_cometd_include}/cometd/cometd.h")
  get_filename_component(_cometd_parent "${_cometd_prefix}" DIRECTORY)
  if(_cometd_parent STREQUAL _cometd_prefix)
    break()
  endif()
  set(_cometd_prefix "${_cometd_parent}")
  set(_cometd_include "${_cometd_prefix}/include")
endwhile()

set(_cometd_problem "")
if(NOT EXISTS "${_cometd_include}/cometd/cometd.h")
  set(_cometd_problem "cometd/cometd.h is not where ${CMAKE_CURRENT_LIST_DIR} looks for it")
endif()

# Beside lib/cmake/cometd, or in a folder of the prefix.
set(_cometd_folders "${_cometd_here}/../.." "${_cometd_prefix}/lib/${CMAKE_LIBRARY_ARCHITECTURE}"
    "${_cometd_prefix}/lib" "${_cometd_prefix}/lib64")
foreach(_cometd_file so a)
  set(_cometd_${_cometd_file} "")
  foreach(_cometd_folder IN LISTS _cometd_folders)
    if(NOT _cometd_${_cometd_file} AND EXISTS "${_cometd_folder}/libcometd.${_cometd_file}")
      get_filename_component(_cometd_${_cometd_file} "${_cometd_folder}/libcometd.${_cometd_file}" ABSOLUTE)
    endif()
  endforeach()
endforeach()
if(NOT _cometd_so AND NOT _cometd_a)
  set(_cometd_problem "libcometd is not where ${CMAKE_CURRENT_LIST_DIR} looks for it")
endif()

# Targets are seen where find_package is called, or everywhere with add_subdirectory.
if(NOT _cometd_problem AND _cometd_so AND NOT TARGET cometd::cometd)
  add_library(cometd::cometd SHARED IMPORTED ${_cometd_scope})
  set_target_properties(cometd::cometd PROPERTIES
    IMPORTED_LOCATION "${_cometd_so}"
    IMPORTED_SONAME libcometd.so.0
    INTERFACE_INCLUDE_DIRECTORIES "${_cometd_include}")
endif()
if(NOT _cometd_problem AND _cometd_a AND NOT TARGET cometd::static)
  find_package(OpenSSL QUIET)
  if(NOT OPENSSL_FOUND)
    set(OPENSSL_LIBRARIES ssl crypto)
  endif()
  add_library(cometd::static STATIC IMPORTED ${_cometd_scope})
  set_target_properties(cometd::static PROPERTIES
    IMPORTED_LOCATION "${_cometd_a}"
    INTERFACE_INCLUDE_DIRECTORIES "${_cometd_include}"
    INTERFACE_LINK_LIBRARIES "${OPENSSL_LIBRARIES};util;rt;pthread;m;dl")
endif()

# find_package(cometd COMPONENTS shared static)
foreach(_cometd_component IN LISTS cometd_FIND_COMPONENTS)
  if(_cometd_component STREQUAL "shared" AND TARGET cometd::cometd)
    set(cometd_shared_FOUND TRUE)
  elseif(_cometd_component STREQUAL "static" AND TARGET cometd::static)
    set(cometd_static_FOUND TRUE)
  elseif(cometd_FIND_REQUIRED_${_cometd_component})
    set(_cometd_problem "there is no ${_cometd_component} library")
  endif()
endforeach()
if(_cometd_problem)
  set(cometd_FOUND FALSE)
  set(cometd_NOT_FOUND_MESSAGE "${_cometd_problem}")
  if(_cometd_scope)
    message(FATAL_ERROR "cometd: ${_cometd_problem}")
  endif()
endif()
