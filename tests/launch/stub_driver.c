/* The driver's calls that MXNet 1.9.1 makes, answered as on a machine without a GPU.
   test_cuda_build checks that no call is missing. */
#define NO_DEVICE 100 /* CUDA_ERROR_NO_DEVICE */
#define CALL(name) int name(void) { return NO_DEVICE; }

CALL(cuInit)
CALL(cuDeviceGet)
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
