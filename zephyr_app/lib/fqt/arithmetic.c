/* SPDX-License-Identifier: Apache-2.0 */
/* The number system (SPEC.md sections 2, 3 and the tables of 4.7). */
#include <fqt/arithmetic.h>

#include <float.h>
#include <string.h>

_Static_assert(sizeof(float) == 4 && FLT_EVAL_METHOD == 0, "float steps must be single precision");
_Static_assert((-3) >> 1 == -2, "right shifts of negative numbers must be floors");

/* Exponent field and 24-bit significand (hidden bit included) of a float. */
static int32_t exponent_of(float m, int32_t *significand) {
    uint32_t bits;
    memcpy(&bits, &m, sizeof bits);
    *significand = (int32_t)((bits & 0x7FFFFFu) | 0x800000u);
    return (int32_t)((bits >> 23) & 255u);
}

struct fqt_requantizer fqt_requantizer_of(float m) {
    int32_t significand;
    int32_t exponent = exponent_of(m, &significand);
    int32_t mantissa = (significand + 256) >> 9;
    if (mantissa == 32768) {
        mantissa = 16384;
        exponent++;
    }
    int32_t shift = 141 - exponent;
    if (exponent == 0 || shift > 50) {
        return (struct fqt_requantizer){0, 0, 1};
    }
    if (shift < 1) {
        return (struct fqt_requantizer){32767, 0, 1};
    }
    int32_t pre = shift > 21 ? shift - 21 : 0;
    return (struct fqt_requantizer){(int16_t)mantissa, (uint8_t)pre, (uint8_t)(shift - pre)};
}

struct fqt_rescaler fqt_rescaler_of(float m) {
    int32_t significand;
    int32_t exponent = exponent_of(m, &significand);
    int32_t shift = 150 - exponent;
    if (exponent == 0 || shift > 62) {
        return (struct fqt_rescaler){0, 62};
    }
    return (struct fqt_rescaler){significand, shift < 1 ? 1 : shift};
}

int32_t fqt_rescale(int32_t a, float m, uint32_t random) {
    return fqt_rescale_by(a, fqt_rescaler_of(m), random);
}

int32_t fqt_fround(float x, int32_t low, int32_t high) {
    if (!(x > (float)low)) {
        return low;
    }
    if (!(x < (float)high)) {
        return high;
    }
    float shifted = x + 0.5f;
    int32_t whole = (int32_t)shifted;
    return (float)whole > shifted ? whole - 1 : whole; /* conversion truncates, floor goes down */
}

#if FQT_WITH_STOCHASTIC_ERRORS
int32_t fqt_fround_random(float x, uint32_t random, int32_t low, int32_t high) {
    float clamped = x > (float)low ? x : (float)low;
    clamped = clamped < (float)high ? clamped : (float)high;
    float shifted = clamped + (float)(random >> 16) * 0x1p-16f;
    int32_t whole = (int32_t)shifted;
    return (float)whole > shifted ? whole - 1 : whole;
}
#endif

/* 2^n as a float, -126 <= n <= 127. */
static float power_of_two(int32_t n) {
    uint32_t bits = (uint32_t)(n + 127) << 23;
    float result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* From the integer root of the significand with one bit more than a float holds; it never lies half way between two
 * floats. */
float fqt_sqrt(float x) {
    int32_t significand;
    int32_t exponent = exponent_of(x, &significand);
    if (!(x > 0.0f) || exponent == 255) {
        return x;
    }
    if (exponent == 0) { /* subnormal: has no hidden bit */
        significand -= 0x800000;
        exponent = 1;
    }
    exponent -= 150; /* x = significand * 2^exponent */
    uint64_t scaled = (uint64_t)(uint32_t)significand;
    while (scaled < (uint64_t)1 << 48) {
        scaled <<= 1;
        exponent--;
    }
    if (exponent % 2 != 0) {
        scaled <<= 1;
        exponent--;
    }
    uint32_t root = fqt_isqrt(scaled); /* 25 bits */
    return (float)((root + 1) >> 1) * power_of_two(exponent / 2 + 1);
}

float fqt_abs(float x) {
    return x < 0.0f ? -x : x;
}

int32_t fqt_bit_length(uint32_t x) {
    int32_t n = 0;
    while (x != 0) {
        x >>= 1;
        n++;
    }
    return n;
}

uint32_t fqt_isqrt(uint64_t x) {
    uint64_t root = 0;
    uint64_t bit = (uint64_t)1 << 60;
    while (bit > x) {
        bit >>= 2;
    }
    while (bit != 0) {
        if (x >= root + bit) {
            x -= root + bit;
            root = (root >> 1) + bit;
        } else {
            root >>= 1;
        }
        bit >>= 2;
    }
    return (uint32_t)root;
}

/* By repeated squaring: each squaring yields one more bit of the fraction. */
uint32_t fqt_log2_q16(uint32_t v) {
    int32_t n = fqt_bit_length(v) - 1;
    uint32_t x = v << (31 - n);
    uint32_t result = (uint32_t)n;
    for (int i = 0; i < 16; i++) {
        uint64_t squared = ((uint64_t)x * x) >> 31;
        uint32_t bit = (uint32_t)(squared >> 32);
        x = (uint32_t)(squared >> bit);
        result = 2 * result + bit;
    }
    return result;
}

/* round(2^30 * 2^(-j / 256)), j = 0..256. */
static const uint32_t exp2_table[257] = {
    0x40000000u, 0x3fd3b2d6u, 0x3fa78457u, 0x3f7b746du, 0x3f4f8303u, 0x3f23b004u, 0x3ef7fb5bu, 0x3ecc64f3u, 0x3ea0ecb7u,
    0x3e759292u, 0x3e4a566fu, 0x3e1f3839u, 0x3df437ddu, 0x3dc95544u, 0x3d9e905bu, 0x3d73e90du, 0x3d495f45u, 0x3d1ef2f0u,
    0x3cf4a3f8u, 0x3cca7249u, 0x3ca05dcfu, 0x3c766676u, 0x3c4c8c2au, 0x3c22ced6u, 0x3bf92e67u, 0x3bcfaac8u, 0x3ba643e6u,
    0x3b7cf9acu, 0x3b53cc08u, 0x3b2abae4u, 0x3b01c62eu, 0x3ad8edd1u, 0x3ab031bau, 0x3a8791d6u, 0x3a5f0e10u, 0x3a36a656u,
    0x3a0e5a94u, 0x39e62ab7u, 0x39be16abu, 0x39961e5du, 0x396e41bau, 0x394680afu, 0x391edb28u, 0x38f75113u, 0x38cfe25du,
    0x38a88ef2u, 0x388156c0u, 0x385a39b4u, 0x383337bbu, 0x380c50c3u, 0x37e584b8u, 0x37bed388u, 0x37983d21u, 0x3771c16fu,
    0x374b6061u, 0x372519e4u, 0x36feede6u, 0x36d8dc54u, 0x36b2e51cu, 0x368d082bu, 0x36674571u, 0x36419cd9u, 0x361c0e53u,
    0x35f699ccu, 0x35d13f33u, 0x35abfe74u, 0x3586d780u, 0x3561ca42u, 0x353cd6abu, 0x3517fca8u, 0x34f33c26u, 0x34ce9516u,
    0x34aa0764u, 0x34859301u, 0x346137d9u, 0x343cf5dbu, 0x3418ccf7u, 0x33f4bd1au, 0x33d0c634u, 0x33ace833u, 0x33892305u,
    0x3365769bu, 0x3341e2e2u, 0x331e67c9u, 0x32fb0540u, 0x32d7bb35u, 0x32b48998u, 0x32917057u, 0x326e6f62u, 0x324b86a7u,
    0x3228b617u, 0x3205fda0u, 0x31e35d32u, 0x31c0d4bcu, 0x319e642du, 0x317c0b76u, 0x3159ca84u, 0x3137a149u, 0x31158fb3u,
    0x30f395b2u, 0x30d1b337u, 0x30afe82fu, 0x308e348cu, 0x306c983du, 0x304b1333u, 0x3029a55cu, 0x30084ea8u, 0x2fe70f09u,
    0x2fc5e66eu, 0x2fa4d4c6u, 0x2f83da02u, 0x2f62f613u, 0x2f4228e8u, 0x2f217271u, 0x2f00d2a0u, 0x2ee04963u, 0x2ebfd6adu,
    0x2e9f7a6cu, 0x2e7f3491u, 0x2e5f050eu, 0x2e3eebd2u, 0x2e1ee8ceu, 0x2dfefbf3u, 0x2ddf2531u, 0x2dbf6479u, 0x2d9fb9bcu,
    0x2d8024eau, 0x2d60a5f5u, 0x2d413ccdu, 0x2d21e963u, 0x2d02aba9u, 0x2ce3838eu, 0x2cc47105u, 0x2ca573fdu, 0x2c868c6au,
    0x2c67ba3au, 0x2c48fd60u, 0x2c2a55ceu, 0x2c0bc373u, 0x2bed4642u, 0x2bcede2bu, 0x2bb08b21u, 0x2b924d15u, 0x2b7423f7u,
    0x2b560fbbu, 0x2b381050u, 0x2b1a25a9u, 0x2afc4fb8u, 0x2ade8e6du, 0x2ac0e1bcu, 0x2aa34995u, 0x2a85c5eau, 0x2a6856adu,
    0x2a4afbd0u, 0x2a2db546u, 0x2a1082ffu, 0x29f364edu, 0x29d65b04u, 0x29b96534u, 0x299c8370u, 0x297fb5aau, 0x2962fbd5u,
    0x294655e2u, 0x2929c3c3u, 0x290d456cu, 0x28f0dacdu, 0x28d483dau, 0x28b84085u, 0x289c10c1u, 0x287ff47fu, 0x2863ebb3u,
    0x2847f64eu, 0x282c1444u, 0x28104587u, 0x27f48a09u, 0x27d8e1beu, 0x27bd4c98u, 0x27a1ca8au, 0x27865b86u, 0x276aff80u,
    0x274fb66au, 0x27348037u, 0x27195cdau, 0x26fe4c46u, 0x26e34e6eu, 0x26c86346u, 0x26ad8abfu, 0x2692c4ceu, 0x26781165u,
    0x265d7077u, 0x2642e1f9u, 0x262865dcu, 0x260dfc14u, 0x25f3a495u, 0x25d95f52u, 0x25bf2c3fu, 0x25a50b4eu, 0x258afc73u,
    0x2570ffa2u, 0x255714ceu, 0x253d3beau, 0x252374ebu, 0x2509bfc4u, 0x24f01c68u, 0x24d68accu, 0x24bd0ae2u, 0x24a39c9fu,
    0x248a3ff7u, 0x2470f4ddu, 0x2457bb45u, 0x243e9323u, 0x24257c6bu, 0x240c7711u, 0x23f38308u, 0x23daa046u, 0x23c1cebdu,
    0x23a90e63u, 0x23905f2au, 0x2377c108u, 0x235f33f0u, 0x2346b7d7u, 0x232e4cb0u, 0x2315f271u, 0x22fda90du, 0x22e57079u,
    0x22cd48a9u, 0x22b53191u, 0x229d2b27u, 0x2285355du, 0x226d502au, 0x22557b81u, 0x223db757u, 0x222603a0u, 0x220e6052u,
    0x21f6cd60u, 0x21df4ac0u, 0x21c7d866u, 0x21b07646u, 0x21992457u, 0x2181e28cu, 0x216ab0dau, 0x21538f36u, 0x213c7d96u,
    0x21257bedu, 0x210e8a31u, 0x20f7a857u, 0x20e0d654u, 0x20ca141cu, 0x20b361a6u, 0x209cbee6u, 0x20862bd1u, 0x206fa85cu,
    0x2059347du, 0x2042d028u, 0x202c7b54u, 0x201635f5u, 0x20000000u,
};

uint32_t fqt_exp2_negative(uint32_t t) {
    uint32_t n = t >> 16;
    if (n + 8 >= 32) {
        return 0;
    }
    uint32_t j = (t >> 8) & 255u;
    uint32_t above = exp2_table[j];
    uint32_t value = above - (((above - exp2_table[j + 1]) * (t & 255u)) >> 8);
    return value >> (n + 8);
}

uint32_t fqt_random_key(uint32_t seed, uint32_t step, uint32_t stream) {
    return fqt_mix(fqt_mix(fqt_mix(seed + 0x9E3779B9u) + step) + stream);
}
