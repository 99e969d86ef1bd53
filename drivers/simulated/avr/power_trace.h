/* The power that the simulated chip measures: current and voltage over true time, constant between rows. */
#ifndef POWER_TRACE_H
#define POWER_TRACE_H

#include <stddef.h>

typedef struct {
    size_t rows;
    double *t_s, *current_a, *voltage_v;
    double *charge_c, *flux_vs; /* integrals of current and of voltage from row 0 to row i */
} power_trace;

/* Rows of three little-endian doubles: second, ampere, volt. The last row holds for ever. 0, or -1 with a message. */
int power_trace_read(power_trace *trace, const char *path);

/* Means over true time [from_s, to_s]. */
double power_trace_current(const power_trace *trace, double from_s, double to_s);
double power_trace_voltage(const power_trace *trace, double from_s, double to_s);

#endif
