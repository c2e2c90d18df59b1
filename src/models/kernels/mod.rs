//! What `kernel_ridge` and `svm` share: kernel functions of two rows, and what all kernels of a fold are made of.
//!
//! A kernel is a function of one number that two rows have together, their [`Measure`]: an inner product or a distance. A
//! fold's measures are computed once and serve every kernel of every candidate.

pub mod cache;
pub mod device;
pub mod measure;
pub mod onnx;
pub mod weights;

pub use measure::Measure;

use crate::backend::BackendError;
use crate::backend::cpu::math::exp_doubles;
use crate::backend::cpu::simd::Level;
use crate::space::{Domain, Space, SpaceBuilder, Value};

/// A kernel function's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum KernelKind {
    /// `exp(-gamma |x - y|^2)`
    Rbf,
    /// `exp(-gamma |x - y|_1)`
    Laplacian,
    /// `(gamma x'y + coef0)^degree`
    Polynomial,
    /// `x'y`
    Linear,
    /// `tanh(gamma x'y + coef0)`
    Sigmoid,
}

impl KernelKind {
    /// Every kind with its name and its code in weights and shaders.
    const ALL: [(KernelKind, &'static str); 5] = [
        (KernelKind::Rbf, "rbf"),
        (KernelKind::Laplacian, "laplacian"),
        (KernelKind::Polynomial, "polynomial"),
        (KernelKind::Linear, "linear"),
        (KernelKind::Sigmoid, "sigmoid"),
    ];

    /// The name in a study.
    pub fn name(self) -> &'static str {
        KernelKind::ALL[self.code() as usize].1
    }

    /// The code in weights and shaders.
    pub fn code(self) -> u32 {
        KernelKind::ALL.iter().position(|(kind, _)| *kind == self).unwrap_or(0) as u32
    }

    /// The kind of a code.
    pub fn from_code(code: u32) -> Option<KernelKind> {
        KernelKind::ALL.get(code as usize).map(|(kind, _)| *kind)
    }

    /// What two rows must have in common.
    pub fn measure(self) -> Measure {
        match self {
            KernelKind::Rbf => Measure::SquaredDistance,
            KernelKind::Laplacian => Measure::AbsoluteDistance,
            KernelKind::Polynomial | KernelKind::Linear | KernelKind::Sigmoid => Measure::Product,
        }
    }
}

/// A kernel function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KernelFunction {
    /// Its kind.
    pub kind: KernelKind,
    /// Of all kinds but the linear one.
    pub gamma: f64,
    /// Of the polynomial kernel.
    pub degree: u32,
    /// Of the polynomial and the sigmoid kernel.
    pub coef0: f64,
}

impl KernelFunction {
    /// Reads a candidate's encoded values; what a space does not have takes a default.
    pub fn read(space: &Space, point: &[f64]) -> KernelFunction {
        let kind = space.text(point, "kernel");
        let kind = KernelKind::ALL.iter().find(|(_, name)| Some(*name) == kind.as_deref());
        KernelFunction {
            kind: kind.map_or(KernelKind::Rbf, |(kind, _)| *kind),
            gamma: space.number(point, "gamma").unwrap_or(1.0),
            degree: space.number(point, "degree").unwrap_or(3.0) as u32,
            coef0: space.number(point, "coef0").unwrap_or(0.0),
        }
    }

    /// The kernel of two rows that have this measure.
    pub fn of(&self, measure: f64) -> f64 {
        match self.kind {
            KernelKind::Rbf | KernelKind::Laplacian => libm::exp(-self.gamma * measure),
            KernelKind::Polynomial => power(self.gamma.mul_add(measure, self.coef0), self.degree),
            KernelKind::Linear => measure,
            KernelKind::Sigmoid => libm::tanh(self.gamma.mul_add(measure, self.coef0)),
        }
    }

    /// How it changes with gamma, and with coef0.
    pub fn slopes(&self, measure: f64) -> [f64; 2] {
        let inner = match self.kind {
            KernelKind::Rbf | KernelKind::Laplacian => return [-measure * self.of(measure), 0.0],
            KernelKind::Linear => return [0.0; 2],
            KernelKind::Polynomial => {
                let rest = power(self.gamma.mul_add(measure, self.coef0), self.degree.saturating_sub(1));
                f64::from(self.degree) * rest
            }
            KernelKind::Sigmoid => {
                let value = self.of(measure);
                1.0 - value * value
            }
        };
        [inner * measure, inner]
    }

    /// The kernels of many pairs: puts the kernel in the place of each measure.
    pub fn of_all(&self, level: Level, measures: &mut [f64]) {
        match self.kind {
            KernelKind::Rbf | KernelKind::Laplacian => {
                measures.iter_mut().for_each(|measure| *measure *= -self.gamma);
                exp_doubles(level, measures);
            }
            _ => measures.iter_mut().for_each(|measure| *measure = self.of(*measure)),
        }
    }

    /// Equal for equal functions, and the same for those that differ in a parameter that the kind does not have.
    pub fn bits(&self) -> [u64; 3] {
        let has_gamma = self.kind != KernelKind::Linear;
        let has_coef0 = matches!(self.kind, KernelKind::Polynomial | KernelKind::Sigmoid);
        let degree = if self.kind == KernelKind::Polynomial { self.degree } else { 0 };
        [
            u64::from(self.kind.code()) << 32 | u64::from(degree),
            if has_gamma { self.gamma.to_bits() } else { 0 },
            if has_coef0 { self.coef0.to_bits() } else { 0 },
        ]
    }

    /// What brings candidates of one kernel together: the bits, mixed (Steele et al. 2014, SplitMix64).
    pub fn step(&self) -> [u32; 2] {
        let mixed = self.bits().into_iter().fold(0u64, |state, bits| {
            let z = state.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ bits;
            let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        [(mixed >> 32) as u32, mixed as u32]
    }
}

/// `base^exponent` by squaring.
fn power(base: f64, exponent: u32) -> f64 {
    let (mut result, mut square, mut left) = (1.0, base, exponent);
    while left > 0 {
        if left & 1 == 1 {
            result *= square;
        }
        square *= square;
        left >>= 1;
    }
    result
}

/// Adds a model's kernel and its parameters: gamma from 1e-4 to 10 and by default 1 / features, which for standardised
/// features is what scikit-learn calls "scale".
pub fn add_space(builder: SpaceBuilder, kinds: &[KernelKind], features: usize, coef0: f64) -> SpaceBuilder {
    let names: Vec<&str> = kinds.iter().map(|kind| kind.name()).collect();
    let having = |wanted: &[KernelKind]| -> Vec<&str> {
        kinds.iter().filter(|kind| wanted.contains(kind)).map(|kind| kind.name()).collect()
    };
    let widths = [KernelKind::Rbf, KernelKind::Laplacian, KernelKind::Polynomial, KernelKind::Sigmoid];
    let gamma = (1.0 / features.max(1) as f64).clamp(1e-4, 10.0);
    builder
        .categorical("kernel", &names, names[0])
        .log("gamma", 1e-4, 10.0, gamma)
        .within(1e-12, 1e12)
        .when("gamma", "kernel", &having(&widths))
        .int("degree", 2, 4, 3)
        .within_whole(1, 30)
        .when("degree", "kernel", &["polynomial"])
        .float("coef0", 0.0, 1.0, coef0)
        .within(-1e6, 1e6)
        .when("coef0", "kernel", &having(&[KernelKind::Polynomial, KernelKind::Sigmoid]))
}

/// Refuses data whose kernel matrices do not fit into memory: `bytes` is what one lane takes of it.
pub fn check_memory(model: &'static str, rows: usize, bytes: u64, memory: u64) -> Result<(), BackendError> {
    // Half of the memory is the cache's.
    if bytes.saturating_mul(2) <= memory {
        return Ok(());
    }
    let size = |bytes: u64| match bytes as f64 / f64::from(1 << 20) {
        mib @ ..1024.0 => format!("{mib:.1} MiB"),
        mib => format!("{:.1} GiB", mib / 1024.0),
    };
    let mib = bytes.saturating_mul(2).div_ceil(1 << 20);
    Err(BackendError::Unsuited {
        model,
        reason: format!(
            "it works on the kernel of all pairs of {rows} training rows, which takes {} of the {} that are allowed",
            size(bytes.saturating_mul(2)),
            size(memory)
        ),
        alternative: format!(
            "For so many rows: a linear model, a perceptron or boosted trees; or allow more: --set run.memory={mib}"
        ),
    })
}

/// The measures that the candidates of a space can need.
pub fn measures(space: &Space) -> Vec<Measure> {
    let kinds: Vec<KernelKind> = match space.index("kernel").map(|column| &space.parameters[column].domain) {
        Some(Domain::Categorical(values) | Domain::Ordinal(values)) => {
            let named =
                |value: &Value| KernelKind::ALL.iter().find(|(_, name)| *value == Value::Text((*name).to_owned()));
            values.iter().filter_map(named).map(|(kind, _)| *kind).collect()
        }
        _ => vec![KernelFunction::read(space, &space.defaults()).kind],
    };
    let mut measures: Vec<Measure> = kinds.into_iter().map(KernelKind::measure).collect();
    measures.sort();
    measures.dedup();
    measures
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_power_is_the_product_of_its_factors() {
        for exponent in 0..12 {
            let product = (0..exponent).fold(1.0, |product, _| product * 1.5);
            assert_eq!(power(1.5, exponent), product, "exponent {exponent}");
        }
        assert_eq!(power(-2.0, 3), -8.0);
    }

    #[test]
    fn functions_that_are_the_same_have_the_same_bits() {
        let rbf = KernelFunction { kind: KernelKind::Rbf, gamma: 0.5, degree: 3, coef0: 0.0 };
        assert_eq!(rbf.bits(), KernelFunction { degree: 2, coef0: 1.0, ..rbf }.bits());
        let linear = KernelFunction { kind: KernelKind::Linear, ..rbf };
        assert_eq!(linear.bits(), KernelFunction { gamma: 2.0, ..linear }.bits());
        for other in
            [KernelFunction { gamma: 0.6, ..rbf }, KernelFunction { kind: KernelKind::Laplacian, ..rbf }, linear]
        {
            assert_ne!(rbf.bits(), other.bits());
            assert_ne!(rbf.step(), other.step());
        }
    }

    #[test]
    fn every_kernel_has_the_value_of_its_formula() {
        let function = |kind| KernelFunction { kind, gamma: 0.25, degree: 3, coef0: 2.0 };
        let values = [
            (KernelKind::Rbf, (-0.5f64).exp()),
            (KernelKind::Laplacian, (-0.5f64).exp()),
            (KernelKind::Polynomial, 2.5f64.powi(3)),
            (KernelKind::Linear, 2.0),
            (KernelKind::Sigmoid, 2.5f64.tanh()),
        ];
        for (kind, value) in values {
            assert!((function(kind).of(2.0) - value).abs() < 1e-14, "{}", kind.name());
            assert_eq!(KernelKind::from_code(kind.code()), Some(kind));
        }
        assert_eq!(KernelKind::from_code(9), None);
    }
}
