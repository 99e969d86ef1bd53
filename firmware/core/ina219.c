/* Conversion times of datasheet SBOS448, table 5: by resolution, or 532 us times the number of averages. */
#include "ina219.h"

static uint32_t one_us(uint8_t code)
{
    static const uint32_t by_bits[] = {84, 148, 276, 532};
    static const uint32_t by_averages[] = {532, 1060, 2130, 4260, 8510, 17020, 34050, 68100};
    return code & 8u ? by_averages[code & 7u] : by_bits[code & 3u];
}

uint32_t ina219_conversion_us(uint16_t config)
{
    uint32_t both = one_us((uint8_t)(config >> 3 & 15u));
    if ((config & INA219_MODE) == INA219_SHUNT_AND_BUS_CONTINUOUS)
        both += one_us((uint8_t)(config >> 7 & 15u));
    return both;
}
