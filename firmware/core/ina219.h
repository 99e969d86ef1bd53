/* What the streamer must know of the chip: registers, flags, and how long a conversion takes. */
#ifndef INA219_H
#define INA219_H

#include <stdint.h>

#define INA219_ADDRESS 0x40u
enum { INA219_CONFIG, INA219_SHUNT, INA219_BUS, INA219_POWER, INA219_CURRENT, INA219_CALIBRATION };
#define INA219_RESET 0x8000u
#define INA219_RESET_CONFIG 0x399Fu
#define INA219_MODE 7u
#define INA219_SHUNT_CONTINUOUS 5u
#define INA219_SHUNT_AND_BUS_CONTINUOUS 7u
#define INA219_READY 2u  /* CNVR, in the bus register */
#define INA219_NEVER 4u  /* always 0 in the bus register, and 1 in the configuration of a chip that was reset */

uint32_t ina219_conversion_us(uint16_t config); /* typical time of one cycle, as rounded up; the chip may be 10 % slower */

#endif
