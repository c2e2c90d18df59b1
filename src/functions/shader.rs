//! A function on a GPU: WGSL that any kernel can call, and the kernel that evaluates a batch of points and nothing else.

use crate::backend::gpu::{Binding, Kernel, Role, wgsl_struct};

/// `exp_of` and `ln_of`, which functions call.
pub(super) const MATH: &str = include_str!("../../shaders/shared/math.wgsl");
/// Parts of all functions.
pub(super) const SHARED: &str = include_str!("../../shaders/functions/shared.wgsl");
/// `evaluate` of functions that have one value.
pub(super) const SINGLE: &str = include_str!("../../shaders/functions/single.wgsl");

/// A function of one instance and number of dimensions, for a GPU.
///
/// Its sources offer `fn evaluate(member: u32)`, which one invocation runs for one member. What the kernel around it must
/// offer stands in `shaders/functions/shared.wgsl`. NaN in a coordinate is NaN in every value.
#[derive(Debug, Clone, PartialEq)]
pub struct FunctionShader {
    /// The function's name.
    pub name: &'static str,
    /// WGSL files, in any order; [`FunctionShader::define`] puts them into a kernel.
    pub sources: &'static [&'static str],
    /// Which of its sources' functions it is: `FUNCTION` in them.
    pub number: u32,
    /// Parameters: `DIMENSIONS` in its sources.
    pub dimensions: usize,
    /// Values.
    pub objectives: usize,
    /// What `constant(index)` gives.
    pub constants: Vec<f32>,
    /// Words of each member behind `scratch(member, index)`; they hold anything before and after.
    pub scratch: usize,
    /// What is to be added to each value that the shader gives. Values near the optimum have digits that f32 would lose
    /// to it, and their order is the same without.
    pub offset: f64,
}

wgsl_struct! {
    /// What a dispatch of [`FunctionShader::kernel`] works on.
    pub struct EvaluationBatch {
        /// Its first workgroup's number among the batch's.
        pub first_group: u32,
        /// Points of the batch.
        pub members: u32,
        /// Set where the driver ended loops before their time: values are wrong then.
        pub are_loops_cut: u32,
        /// Set where each point has a workgroup of its own; functions' kernels have them side by side alone.
        pub are_apart: u32,
    }
}

impl FunctionShader {
    /// Members of a workgroup of [`FunctionShader::kernel`].
    pub const WORKGROUP: u32 = 64;

    /// Adds the function's sources and constants to a kernel, without the files that it has already.
    pub fn define(&self, kernel: Kernel) -> Kernel {
        let dimensions = u32::try_from(self.dimensions).unwrap_or(u32::MAX);
        let mut kernel = kernel.constant("FUNCTION", self.number).constant("DIMENSIONS", dimensions);
        for source in self.sources {
            if !kernel.sources.contains(source) {
                kernel.sources.push(source);
            }
        }
        kernel
    }

    /// The kernel that evaluates a batch. It binds an [`EvaluationBatch`]; points, `[axis][member]`; the constants; scratch
    /// words, `[word][member]`; and values, `[objective][member]`.
    pub fn kernel(&self) -> Kernel {
        let kernel = Kernel::new(self.name, "main", &[include_str!("../../shaders/functions/evaluate.wgsl")])
            .constant("WORKGROUP", FunctionShader::WORKGROUP)
            .layout::<EvaluationBatch>()
            .bind(&[
                Binding::new(Role::Prepare(0), "batch", "EvaluationBatch"),
                Binding::new(Role::Prepared(1), "points", "array<f32>"),
                Binding::new(Role::Prepared(2), "constants", "array<f32>"),
                Binding::new(Role::Prepare(3), "memory", "array<f32>"),
                Binding::new(Role::Prepare(4), "values", "array<f32>"),
            ]);
        self.define(kernel)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::functions::{FUNCTIONS, Function};

    fn shaders() -> impl Iterator<Item = (&'static &'static dyn Function, FunctionShader)> {
        let with_shader = |function: &'static &'static dyn Function| {
            Some((function, function.shader(function.default_dimensions(), 1)?))
        };
        FUNCTIONS.iter().filter_map(with_shader)
    }

    #[test]
    fn functions_of_real_numbers_have_shaders_and_others_have_none() {
        for function in FUNCTIONS {
            let shader = function.shader(function.default_dimensions(), 1);
            assert_eq!(shader.is_some(), function.is_box(), "{}", function.name());
        }
        for (function, shader) in shaders() {
            assert_eq!((shader.name, shader.objectives), (function.name(), function.objectives()));
            assert!(shader.constants.iter().all(|constant| constant.is_finite()), "{}", shader.name);
        }
    }

    #[test]
    fn a_kernel_has_each_file_once() {
        for (_, shader) in shaders() {
            let kernel = shader.define(Kernel::new("other", "main", &[SHARED, MATH]));
            let files = |source: &str| kernel.sources.iter().filter(|other| **other == source).count();
            assert!(shader.sources.iter().all(|source| files(source) == 1), "{}", shader.name);
        }
    }
}
