# SPDX-License-Identifier: Apache-2.0
#
# Included by the application and the tests before find_package(Zephyr).

# This module, for a Zephyr workspace that knows nothing of it. Zephyr tells modules apart by name: where the workspace's manifest has it
# too (west init -l zephyr_app), it is still one.
get_filename_component(FQT_MODULE_DIR ${CMAKE_CURRENT_LIST_DIR}/.. REALPATH)
if(NOT DEFINED EXTRA_ZEPHYR_MODULES AND DEFINED ENV{EXTRA_ZEPHYR_MODULES})
  set(EXTRA_ZEPHYR_MODULES $ENV{EXTRA_ZEPHYR_MODULES})
endif()
if(NOT FQT_MODULE_DIR IN_LIST EXTRA_ZEPHYR_MODULES)
  list(APPEND EXTRA_ZEPHYR_MODULES ${FQT_MODULE_DIR})
endif()

set(FQT_EMBED_TEMPLATE ${CMAKE_CURRENT_LIST_DIR}/embed.S.in)

# fqt_embed(app model /path/model.fqt): the file's bytes in flash, aligned to 8 bytes and padded to as many, as
#   extern const uint8_t model[], model_end[];
# The program is linked anew when the file changes.
function(fqt_embed target FQT_SYMBOL file)
  get_filename_component(FQT_FILE ${file} ABSOLUTE)
  if(NOT EXISTS ${FQT_FILE})
    message(FATAL_ERROR "${FQT_FILE} does not exist: nothing to embed as '${FQT_SYMBOL}'")
  endif()
  set(source ${CMAKE_CURRENT_BINARY_DIR}/embedded_${FQT_SYMBOL}.S)
  configure_file(${FQT_EMBED_TEMPLATE} ${source} @ONLY)
  set_source_files_properties(${source} PROPERTIES OBJECT_DEPENDS ${FQT_FILE})
  target_sources(${target} PRIVATE ${source})
endfunction()
