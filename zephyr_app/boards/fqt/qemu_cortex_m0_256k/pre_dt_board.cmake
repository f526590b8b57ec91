# SPDX-License-Identifier: Apache-2.0

# The SoC's power, clock and nrf-mpu nodes share one address.
list(APPEND EXTRA_DTC_FLAGS "-Wno-unique_unit_address_if_enabled")
