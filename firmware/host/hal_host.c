/* Time passes by what the core does, so that every run is the same. */
#include "hal_host.h"

#include <string.h>

#include "../core/frame.h"
#include "../core/ina219.h"
#include "../hal.h"

fake_world world;

void world_begin(void)
{
    memset(&world, 0, sizeof world);
    world.registers[INA219_CONFIG] = 0x399F;
    world.conversion_us = 4260;
    world.transfer_us = 130;
    world.room = 511;
}

void world_types_raw(const char *text)
{
    size_t length = strlen(text);
    memmove(world.to_receive, world.to_receive + world.received, world.receive_count - world.received);
    world.receive_count -= world.received;
    world.received = 0;
    memcpy(world.to_receive + world.receive_count, text, length);
    world.receive_count += length;
}

void world_types(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    char line[128] = ">", tail[] = "*0000\n";
    uint16_t crc = 0xFFFF;
    for (const char *at = text; *at; at++)
        crc = crc16(crc, (uint8_t)*at);
    for (int i = 0; i < 4; i++)
        tail[1 + i] = digits[crc >> (12 - 4 * i) & 15];
    strcat(line, text);
    strcat(line, tail);
    world_types_raw(line);
}

uint32_t hal_micros(void) { return world.now_us += 2; }

bool hal_receive(uint8_t *byte)
{
    if (world.received == world.receive_count)
        return false;
    *byte = (uint8_t)world.to_receive[world.received++];
    return true;
}

uint16_t hal_send_room(void) { return world.room; }

void hal_send(const uint8_t *bytes, uint8_t count)
{
    memcpy(world.sent + world.sent_count, bytes, count);
    world.sent_count += count;
}

uint32_t hal_baud(void) { return 115200; }
uint32_t hal_uid(void) { return 0x3f9a01; }
void hal_wait(void) { world.waits++; }

static uint8_t pointed;

static void supply(void)
{
    if (world.loses_supply_at_us && (int32_t)(world.now_us - world.loses_supply_at_us) >= 0) {
        memset(world.registers, 0, sizeof world.registers);
        world.registers[INA219_CONFIG] = 0x399F;
        pointed = INA219_CONFIG;
        world.ready_at_us = world.now_us + 1064;
        world.loses_supply_at_us = 0;
    }
    if ((int32_t)(world.now_us - world.ready_at_us) >= 0 && world.measured[1]) {
        world.registers[INA219_SHUNT] = world.measured[0];
        world.registers[INA219_BUS] = world.measured[1];
    }
}

static bool transfer(void)
{
    world.now_us += world.transfer_us;
    hal_meanwhile();
    return !world.silent;
}

bool hal_register_again(uint8_t address, uint16_t *value)
{
    if (!transfer() || address != INA219_ADDRESS)
        return false;
    supply();
    *value = world.registers[pointed];
    if (pointed == INA219_BUS && (int32_t)(world.now_us - world.ready_at_us) >= 0)
        *value |= INA219_READY;
    if (pointed == INA219_POWER) {
        while ((int32_t)(world.now_us - world.ready_at_us) >= 0)
            world.ready_at_us += world.conversion_us;
    }
    return true;
}

bool hal_register_read(uint8_t address, uint8_t pointer, uint16_t *value)
{
    supply();
    pointed = pointer;
    return hal_register_again(address, value);
}

bool hal_register_write(uint8_t address, uint8_t pointer, uint16_t value)
{
    if (!transfer() || address != INA219_ADDRESS)
        return false;
    pointed = pointer;
    world.registers[pointer] = pointer == INA219_CALIBRATION ? value & 0xFFFEu : value;
    if (pointer == INA219_CONFIG)
        world.ready_at_us = world.now_us + world.conversion_us;
    return true;
}
