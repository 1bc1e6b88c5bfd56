/* Prints what machine the benches ran on. */
#include "lib/machine.h"
#include "lib/timer.h"

int main(void)
{
    bench_timer_init();
    bench_machine_print(stdout);
    return 0;
}
