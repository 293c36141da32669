//! GPUs seen through NVML, simulated devices, memory sampling.
