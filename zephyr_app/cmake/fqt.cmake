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

include(${CMAKE_CURRENT_LIST_DIR}/embed.cmake)
