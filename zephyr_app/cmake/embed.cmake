# SPDX-License-Identifier: Apache-2.0
#
# Files in flash. The module includes this, so that any application that has the module can call it behind find_package(Zephyr).

# fqt_embed(app model /path/model.fqt): the file's bytes in flash, aligned to 8 bytes and padded to as many, as
#   extern const uint8_t model[], model_end[];
# The program is linked anew when the file changes.
function(fqt_embed target FQT_SYMBOL file)
  get_filename_component(FQT_FILE ${file} ABSOLUTE)
  if(NOT EXISTS ${FQT_FILE})
    message(FATAL_ERROR "${FQT_FILE} does not exist: nothing to embed as '${FQT_SYMBOL}'")
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embedded_${FQT_SYMBOL}.S)
  configure_file(${CMAKE_CURRENT_FUNCTION_LIST_DIR}/embed.S.in ${source} @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${FQT_FILE})
  target_sources(${target} PRIVATE ${source})
endfunction()
