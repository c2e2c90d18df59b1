//! The GPU backend: the only place that names wgpu.

/// An opened GPU.
pub struct Gpu {}
