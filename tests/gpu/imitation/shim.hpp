// Just enough of CUDA to run a kernel's source on the host: the threads of a block are coroutines that take turns at
// each __syncthreads, blocks run one after the other.
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

#define __device__
#define __global__
#define __shared__ static
#define __restrict__
#define __launch_bounds__(...)
using std::max;
using std::min;

struct Index {
    unsigned x, y, z;
};
struct float2 {
    float x, y;
};
inline float2 make_float2(float x, float y) { return {x, y}; }

static Index blockIdx, threadIdx, blockDim, gridDim;
static ucontext_t scheduler;
static std::vector<ucontext_t> threads;
static size_t running;
static std::vector<bool> ended;
static void** arguments;

static void __syncthreads() { swapcontext(&threads[running], &scheduler); }
static void call_kernel(void** args);
static void thread_main() {
    call_kernel(arguments);
    ended[running] = true;
    swapcontext(&threads[running], &scheduler);
}

extern "C" void launch(const unsigned* grid, const unsigned* block, void** args) {
    const size_t stack = 1 << 16;
    const size_t count = (size_t)block[0] * block[1] * block[2];
    std::vector<char> memory(count * stack);
    arguments = args;
    gridDim = {grid[0], grid[1], grid[2]};
    blockDim = {block[0], block[1], block[2]};
    for (unsigned z = 0; z < grid[2]; ++z)
        for (unsigned y = 0; y < grid[1]; ++y)
            for (unsigned x = 0; x < grid[0]; ++x) {
                blockIdx = {x, y, z};
                threads.assign(count, ucontext_t());
                ended.assign(count, false);
                for (size_t k = 0; k < count; ++k) {
                    getcontext(&threads[k]);
                    threads[k].uc_stack.ss_sp = memory.data() + k * stack;
                    threads[k].uc_stack.ss_size = stack;
                    threads[k].uc_link = nullptr;
                    makecontext(&threads[k], thread_main, 0);
                }
                for (bool any = true; any;) {
                    any = false;
                    for (running = 0; running < count; ++running) {
                        if (ended[running]) continue;
                        unsigned k = (unsigned)running;
                        threadIdx = {k % block[0], k / block[0] % block[1], k / block[0] / block[1]};
                        swapcontext(&scheduler, &threads[running]);
                        any = true;
                    }
                }
            }
}
