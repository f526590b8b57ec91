/* SPDX-License-Identifier: Apache-2.0 */

#ifndef FQT_MPS2_SOC_H_
#define FQT_MPS2_SOC_H_

#include <cmsis_core_m_defaults.h>

#endif
