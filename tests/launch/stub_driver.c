/* The driver's calls that MXNet 1.9.1 and the doctor make, answered as on a machine without a GPU,
   or with one of the compute capability STUB_CAPABILITY ("9.0") where that is set.
   test_cuda_build checks that no call is missing. */
#include <stdio.h>
#include <stdlib.h>

#define NO_DEVICE 100 /* CUDA_ERROR_NO_DEVICE */
#define CALL(name) int name(void) { return NO_DEVICE; }

CALL(cuDevicePrimaryCtxRetain)
CALL(cuGetErrorString)
CALL(cuGraphKernelNodeGetParams)
CALL(cuGraphNodeGetType)
CALL(cuLaunchKernel)
CALL(cuModuleGetFunction)
CALL(cuModuleLoadData)
CALL(cuModuleLoadDataEx)
CALL(cuModuleUnload)

int cuDriverGetVersion(int *version) { *version = 11020; return 0; }
int cuInit(unsigned flags) { return getenv("STUB_CAPABILITY") ? 0 : NO_DEVICE; }
int cuDeviceGetCount(int *count) { return cuInit(0) ? NO_DEVICE : (*count = 1, 0); }
int cuDeviceGet(int *device, int index) { return cuInit(0) ? NO_DEVICE : (*device = index, 0); }
int cuDeviceGetName(char *name, int size, int device) { snprintf(name, size, "Stub %d", device); return 0; }

int cuDeviceGetAttribute(int *value, int attribute, int device) {
    int major = 0, minor = 0;
    sscanf(getenv("STUB_CAPABILITY"), "%d.%d", &major, &minor);
    *value = attribute == 75 ? major : attribute == 76 ? minor : 0;
    return 0;
}
