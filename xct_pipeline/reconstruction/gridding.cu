// Gridding of sixteen slices (eight complex ones) on a CUDA device: see grid_plain in gridding.py.
//
// One thread gathers the samples of one grid point in the order of the angles, without atomic additions, so that
// equal inputs give equal bits. A block of 16 x 16 threads has one tile of the grid; its threads first find, each for
// one angle, which lines meet the tile, because most do not.

#define TILE 16
#define SLICES 8

__device__ static float tap_weight(const float* coefficients, double distance, int width, int degree) {
    // distance = sample - grid point, in (-width/2, width/2)
    double whole = floor(distance);
    float f = (float)(distance - whole);
    const float* c = coefficients + (width / 2 - 1 - (int)whole) * (degree + 1);
    float value = c[0];
    for (int power = 1; power <= degree; ++power) value = value * f + c[power];
    return value;
}

__device__ static void gather_line(const float2* line, double dx, double dy, double u, double v, double reach,
                                   int half, const float* coefficients, int width, int degree, float2* sum) {
    // samples of one angle within the kernel's reach of the grid point (u, v)
    bool flat = fabs(dx) >= fabs(dy);
    double step = flat ? dx : dy, centre = flat ? u : v;
    double one = (centre - reach) / step, other = (centre + reach) / step;
    int first = max(1 - half, (int)floor(fmin(one, other)));
    int last = min(half - 1, (int)ceil(fmax(one, other)));
    for (int m = first; m <= last; ++m) {
        double x = m * dx - u, y = m * dy - v;
        if (x <= -reach || x >= reach || y <= -reach || y >= reach) continue;
        float w = tap_weight(coefficients, x, width, degree) * tap_weight(coefficients, y, width, degree);
        const float2* p = line + (size_t)(m + half) * SLICES;
        for (int s = 0; s < SLICES; ++s) {
            sum[s].x += w * p[s].x;
            sum[s].y += w * p[s].y;
        }
    }
}

extern "C" __global__ void gather(const float2* samples, const double* steps, const float* coefficients,
                                  float2* grid, int n_angles, int n_frequencies, int n_grid, int width, int degree) {
    __shared__ bool meets[TILE * TILE];
    int column = blockIdx.x * TILE + threadIdx.x;
    int row = blockIdx.y * TILE + threadIdx.y;
    int thread = threadIdx.y * TILE + threadIdx.x;
    int half = n_frequencies / 2;
    double reach = width / 2;
    bool inside = column < n_grid && row < n_grid;
    float2 sum[SLICES];
    for (int s = 0; s < SLICES; ++s) sum[s] = make_float2(0.f, 0.f);
    for (int wrap = 0; wrap < 9; ++wrap) {
        // samples next to one edge of the grid also reach the opposite edge
        double left = (double)((int)blockIdx.x * TILE - n_grid / 2 + (wrap % 3 - 1) * n_grid);
        double bottom = (double)((int)blockIdx.y * TILE - n_grid / 2 + (wrap / 3 - 1) * n_grid);
        double edge = n_grid / 2 + reach;
        if (left > edge || bottom > edge || left + TILE < -edge || bottom + TILE < -edge) continue;
        double middle_u = left + (TILE - 1) * 0.5, middle_v = bottom + (TILE - 1) * 0.5;
        double u = left + threadIdx.x, v = bottom + threadIdx.y;
        for (int start = 0; start < n_angles; start += TILE * TILE) {
            int mine = start + thread;
            bool met = false;
            if (mine < n_angles) {
                double dx = steps[2 * mine], dy = steps[2 * mine + 1];
                double across = ((TILE - 1) * 0.5 + reach) * (fabs(dx) + fabs(dy)) + 1e-6;
                met = fabs(middle_u * dy - middle_v * dx) <= across;
            }
            __syncthreads();
            meets[thread] = met;
            __syncthreads();
            if (!inside) continue;
            int count = min(TILE * TILE, n_angles - start);
            for (int k = 0; k < count; ++k) {
                if (!meets[k]) continue;
                int a = start + k;
                double dx = steps[2 * a], dy = steps[2 * a + 1];
                if (fabs(u * dy - v * dx) > reach * (fabs(dx) + fabs(dy)) + 1e-6) continue;
                gather_line(samples + (size_t)a * n_frequencies * SLICES, dx, dy, u, v, reach, half, coefficients,
                            width, degree, sum);
            }
        }
    }
    if (!inside) return;
    float sign = ((column + row) & 1) ? -1.f : 1.f;
    float2* out = grid + ((size_t)row * n_grid + column) * SLICES;
    for (int s = 0; s < SLICES; ++s) out[s] = make_float2(sign * sum[s].x, sign * sum[s].y);
}
