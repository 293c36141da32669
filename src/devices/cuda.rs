//! The memory pools of CUDA devices.

use candle_core::Device;
use candle_core::cuda_backend::cudarc::driver::{CudaContext, result, sys};

use super::meter::Pool;

/// The pool from which candle takes every tensor on a CUDA device: the device's own, stream by stream.
#[derive(Debug)]
pub struct CudaPool {
    pool: sys::CUmemoryPool,
    /// The pool is the device's, and lives as long as this does.
    _context: std::sync::Arc<CudaContext>,
}

// SAFETY: a handle that the driver lets every thread use; it is never given away or destroyed.
unsafe impl Send for CudaPool {}
// SAFETY: as above.
unsafe impl Sync for CudaPool {}

impl CudaPool {
    /// The pool of a CUDA device. What tensors give back stays in it for those to come: by default the driver would take
    /// it away whenever the device is waited for, and hand it out again page by page. Nothing for other devices, and for
    /// cards without pools.
    pub fn of(device: &Device) -> Option<Self> {
        let stream = device.as_cuda_device().ok()?.cuda_stream();
        let context = stream.context().clone();
        // SAFETY: the context's own device.
        let pool = unsafe { result::device::get_mem_pool(context.cu_device()) }.ok()?;
        let pool = Self { pool, _context: context };
        pool.set(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, u64::MAX)?;
        Some(pool)
    }

    /// A figure of the pool; 0 where the driver does not tell.
    fn get(&self, attribute: sys::CUmemPool_attribute) -> u64 {
        let mut value = 0u64;
        // SAFETY: the pool is alive, and these attributes are 64 bits.
        let told = unsafe { result::mem_pool::get_attribute(self.pool, attribute, (&raw mut value).cast()) };
        told.map_or(0, |()| value)
    }

    fn set(&self, attribute: sys::CUmemPool_attribute, mut value: u64) -> Option<()> {
        // SAFETY: as above.
        unsafe { result::mem_pool::set_attribute(self.pool, attribute, (&raw mut value).cast()) }.ok()
    }
}

impl Pool for CudaPool {
    fn used(&self) -> u64 {
        self.get(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_CURRENT)
    }

    fn reserved(&self) -> u64 {
        self.get(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT)
    }

    fn high(&self) -> u64 {
        self.get(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH)
    }

    fn reset_high(&self) {
        // The driver takes nothing but 0 here, which means what is used now. A driver that refuses keeps the old peak.
        let _ = self.set(sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_USED_MEM_HIGH, 0);
    }

    fn trim(&self) {
        // SAFETY: the pool is alive. What cannot be given back now stays reserved, which harms nothing.
        let _ = unsafe { result::mem_pool::trim_to(self.pool, 0) };
    }
}
