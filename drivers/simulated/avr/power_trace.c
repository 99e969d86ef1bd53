/* Prefix integrals make a mean over any conversion window exact and cheap. */
#include "power_trace.h"

#include <stdio.h>
#include <stdlib.h>

static void *table(size_t rows)
{
    void *made = calloc(rows, sizeof(double));
    if (!made) {
        fprintf(stderr, "out of memory\n");
        exit(1);
    }
    return made;
}

int power_trace_read(power_trace *trace, const char *path)
{
    FILE *file = fopen(path, "rb");
    if (!file) {
        perror(path);
        return -1;
    }
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    if (size <= 0 || size % 24) {
        fprintf(stderr, "%s: %ld bytes are no rows of three doubles\n", path, size);
        fclose(file);
        return -1;
    }
    size_t rows = trace->rows = (size_t)size / 24;
    trace->t_s = table(rows);
    trace->current_a = table(rows);
    trace->voltage_v = table(rows);
    trace->charge_c = table(rows);
    trace->flux_vs = table(rows);
    for (size_t i = 0; i < rows; i++) {
        double row[3];
        if (fread(row, sizeof row, 1, file) != 1 || (i && row[0] <= trace->t_s[i - 1])) {
            fprintf(stderr, "%s: row %zu is short or not later than the row before\n", path, i);
            fclose(file);
            return -1;
        }
        trace->t_s[i] = row[0];
        trace->current_a[i] = row[1];
        trace->voltage_v[i] = row[2];
        if (i) {
            double step_s = row[0] - trace->t_s[i - 1];
            trace->charge_c[i] = trace->charge_c[i - 1] + step_s * trace->current_a[i - 1];
            trace->flux_vs[i] = trace->flux_vs[i - 1] + step_s * trace->voltage_v[i - 1];
        }
    }
    fclose(file);
    return 0;
}

/* Integral of `value` from row 0 to t_s; before the first row its value holds too. */
static double integral(const power_trace *trace, const double *value, const double *sums, double t_s)
{
    size_t low = 0, high = trace->rows;
    while (high - low > 1) {
        size_t middle = (low + high) / 2;
        if (trace->t_s[middle] <= t_s)
            low = middle;
        else
            high = middle;
    }
    return sums[low] + (t_s - trace->t_s[low]) * value[low];
}

double power_trace_current(const power_trace *trace, double from_s, double to_s)
{
    return (integral(trace, trace->current_a, trace->charge_c, to_s) -
            integral(trace, trace->current_a, trace->charge_c, from_s)) / (to_s - from_s);
}

double power_trace_voltage(const power_trace *trace, double from_s, double to_s)
{
    return (integral(trace, trace->voltage_v, trace->flux_vs, to_s) -
            integral(trace, trace->voltage_v, trace->flux_vs, from_s)) / (to_s - from_s);
}
